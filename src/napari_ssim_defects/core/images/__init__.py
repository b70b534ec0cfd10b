"""Images as planes, their intensities, and the tiles that they are computed in."""
