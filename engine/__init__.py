"""Darkroom's engine: jobs in, events out. Knows nothing of Gradio, of tabs or of who is watching."""

__version__ = "0.1.0"
