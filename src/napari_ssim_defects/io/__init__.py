"""Files: images and masks, OME-TIFF, tables and models; each is written whole or not at all."""
