"""Models, checkpoints and recipes as files, and pretrained weights."""
