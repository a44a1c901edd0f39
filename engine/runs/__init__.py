"""A run is a folder: its job, what happened, its checkpoints and their exact state."""
