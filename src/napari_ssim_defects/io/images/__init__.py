"""Image files and their masks: found, opened and checked."""
