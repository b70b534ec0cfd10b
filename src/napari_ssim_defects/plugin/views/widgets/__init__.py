"""Widgets that the sections share."""
