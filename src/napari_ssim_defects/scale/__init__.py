"""One job over many images."""
