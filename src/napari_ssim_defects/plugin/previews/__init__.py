"""Labels that follow the threshold."""
