"""From an image to its residual: reconstruction, predictions, ensemble."""
