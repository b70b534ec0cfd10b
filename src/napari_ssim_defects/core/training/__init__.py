"""Training, as a generator of typed messages."""
