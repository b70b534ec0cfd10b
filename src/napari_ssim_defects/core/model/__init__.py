"""A trained model: calibration, thresholds, and what it can do."""
