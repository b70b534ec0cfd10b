"""What files of every kind need: safe writing, errors in one sentence, names, pixel sizes."""
