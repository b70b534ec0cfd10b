"""What every step uses: errors, frozen models, checks of arrays, devices."""
