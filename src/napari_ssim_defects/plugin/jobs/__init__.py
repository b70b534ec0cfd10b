"""What runs in the background, and the only code that starts threads."""
