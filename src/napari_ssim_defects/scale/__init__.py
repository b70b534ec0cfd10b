"""Detection and evaluation over many images, and over images larger than memory."""
