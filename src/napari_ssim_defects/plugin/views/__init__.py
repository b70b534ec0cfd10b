"""Qt widgets of the panel; each only shows the state and calls the controller."""
