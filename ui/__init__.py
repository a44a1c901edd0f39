"""The app: tabs over the run folder and the queue. It knows no model and imports no torch."""
