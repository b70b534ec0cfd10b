"""Formats that are read: TIFF, Zarr, PNG, JPEG and BMP."""
