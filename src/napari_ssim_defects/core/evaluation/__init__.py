"""Scores of residuals against ground truth."""
