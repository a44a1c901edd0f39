"""Learning: the loop, and what varies in it."""
