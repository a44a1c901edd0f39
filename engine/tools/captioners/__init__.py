"""Who can write captions. Importing it loads no torch: each captioner is imported when it works."""

from .base import CAPTIONERS, CaptionerInfo, Describe, load_captioner

__all__ = ["CAPTIONERS", "CaptionerInfo", "Describe", "load_captioner"]
