"""Edges without a model: Canny's with SciPy, and lines with Pillow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps
from scipy import ndimage

from ...jobs.tools.controls import Annotators

Annotate = Callable[[Image.Image], Image.Image]
"""A picture → another one of the same size."""

STRONGEST = 4.0
"""What Sobel's filter gives at most, for values from 0 to 1: low and high are shares of it, so that 0.1 and 0.2 are OpenCV's 100 and 200."""

NOISE = 8
"""Levels of grey."""


def open_canny(settings: Annotators) -> Annotate:
    return lambda picture: canny(picture, settings.low, settings.high)


def open_line(settings: Annotators) -> Annotate:
    return line


def canny(picture: Image.Image, low: float, high: float) -> Image.Image:
    """Edges one pixel wide, white on black: those from ``high`` on, and from ``low`` on what goes on from them (Canny 1986)."""
    grey = ndimage.gaussian_filter(np.asarray(picture.convert("L"), dtype=np.float32) / 255, 1.0)
    along_x, along_y = ndimage.sobel(grey, axis=1), ndimage.sobel(grey, axis=0)
    strength = np.hypot(along_x, along_y) / STRONGEST
    thin = np.where(_is_ridge(strength, np.arctan2(along_y, along_x)), strength, 0)
    joined, _ = ndimage.label(thin >= low, structure=np.ones((3, 3)))
    clear = np.unique(joined[thin >= high])
    return Image.fromarray((np.isin(joined, clear[clear > 0]) * np.uint8(255)).astype(np.uint8))


def _is_ridge(strength: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Where the strength is the highest across the edge: among the two neighbours in the direction of the gradient."""
    sector = np.round(angle / (np.pi / 4)).astype(int) % 4
    padded = np.pad(strength, 1)
    height, width = strength.shape
    ridge = np.zeros(strength.shape, dtype=bool)
    for direction, (down, right) in enumerate([(0, 1), (1, 1), (1, 0), (1, -1)]):
        ahead = padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        behind = padded[1 - down : 1 - down + height, 1 - right : 1 - right + width]
        # of two equal ones, one is kept
        ridge |= (sector == direction) & (strength >= ahead) & (strength > behind)
    return ridge


def line(picture: Image.Image) -> Image.Image:
    """Lines as of a drawing, white on black, the stronger the clearer: how much darker each pixel is than the lightest one near it."""
    grey = picture.convert("L").filter(ImageFilter.GaussianBlur(1))
    lines = ImageChops.difference(grey.filter(ImageFilter.MaxFilter(5)), grey)
    # the noise of a plain picture is not made into lines
    return ImageOps.autocontrast(lines, cutoff=(0, 0.5)) if np.asarray(lines).max() > NOISE else Image.new("L", picture.size)
