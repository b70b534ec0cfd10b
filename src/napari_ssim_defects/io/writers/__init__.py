"""What is written about images: TIFF, OME-Zarr, tables, figures and reports."""
