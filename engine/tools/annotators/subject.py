"""The subject of a picture as a mask, and the picture without it."""

from __future__ import annotations

from PIL import Image, ImageOps

from ...jobs.tools.controls import Annotators
from .edges import Annotate
from .segments import open_segments


def open_mask(settings: Annotators) -> Annotate:
    find = open_segments(settings.masker)
    return lambda picture: find([picture])[0]


def open_inpaint(settings: Annotators) -> Annotate:
    """The picture with its subject transparent: that is the part to be painted."""
    find = open_segments(settings.masker)

    def annotate(picture: Image.Image) -> Image.Image:
        without = picture.convert("RGBA")
        without.putalpha(ImageOps.invert(find([picture])[0]))
        return without

    return annotate
