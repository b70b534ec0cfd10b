"""What the buttons of each section do; no Qt widgets."""
