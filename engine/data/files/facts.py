"""What the pixels of a picture say, found out by decoding it once: whether it can be used, its size, how sharp it is.

One line of text a picture, so that it can be kept as a note. Knows nothing of captions or of folders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
from PIL import Image

from .pictures import PictureError, opened, upright

SIDE = 512
"""Pictures are looked at with this many pixels on their longer side."""
FLAT = 2.0
"""A picture whose brightness varies by less than this (of 255) is of one colour, and looks like no other."""
VERSION = "3"
"""Raised when the same picture gives other facts than before."""

Fault = Literal["", "broken", "cut", "locked", "large"]
"""Why a picture cannot be used: damaged, cut off, not to be read by this user, too many pixels."""


class Facts(NamedTuple):
    """What is known of one picture; with a fault, only that and the reason."""

    fault: Fault = ""
    reason: str = ""
    """Goes on after the picture's name."""
    width: int = 0
    """Pixels, as a person sees the picture."""
    height: int = 0
    kind: str = ""
    """What the file is, by Pillow's name, whatever its ending says."""
    moving: bool = False
    alpha: bool = False
    """Some of it is transparent."""
    sharpness: float = 0.0
    """Variance of the Laplacian in the sharpest sixteenths of the picture."""
    likeness: int | None = None
    """Perceptual hash of 64 bits; None for a picture of one colour."""

    def dump(self) -> str:
        if self.fault:
            return f"{VERSION}|{self.fault}|{self.reason}"
        likeness = "" if self.likeness is None else f"{self.likeness:016x}"
        return f"{VERSION}||{self.width}|{self.height}|{self.kind}|{int(self.moving)}|{int(self.alpha)}|{self.sharpness:.1f}|{likeness}"


def is_current(line: str) -> bool:
    """Whether this version of the program wrote the line."""
    return line.startswith(f"{VERSION}|")


def is_whole(line: str) -> bool:
    """Whether the line is current and tells of no fault: a disk that did not answer once is asked again."""
    return line.startswith(f"{VERSION}||")


def parse_facts(line: str) -> Facts | None:
    """The facts of a line that ``dump`` made; None if an older version of the program did."""
    version, _, rest = line.partition("|")
    if version != VERSION:
        return None
    fault, _, rest = rest.partition("|")
    if fault:
        return Facts(cast(Fault, fault), rest)
    width, height, kind, moving, alpha, sharpness, likeness = rest.split("|")
    return Facts(
        "", "", int(width), int(height), kind, moving == "1", alpha == "1", float(sharpness),
        int(likeness, 16) if likeness else None,
    )  # fmt: skip


def parse_head(line: str) -> tuple[int, int, bool, str]:
    """What the head of the file said: width, height, whether it moves, and what is wrong with it. Of the lines of ``look_at_head``."""
    if is_whole(line):
        _, _, width, height, _, moving, _ = line.split("|", 6)
        return int(width), int(height), moving == "1", ""
    return 0, 0, False, line.split("|", 2)[2]


def look_at(path: Path) -> Facts:
    """Decodes the picture, a JPEG only as finely as is needed; never raises for what is in the file."""
    try:
        with opened(path) as image:
            width, height = upright(image)
            moving, kind = bool(getattr(image, "is_animated", False)), str(image.format)
            image.draft(None, (SIDE, SIDE))  # reads every byte of a JPEG, and skips most of the arithmetic
            image.load()
            alpha = _is_transparent(image)
            grey = _grey(image)
    except PictureError as error:
        return Facts(_fault_of(error), error.reason)
    return Facts("", "", width, height, kind, moving, alpha, sharpness(grey), likeness(grey))


def look_at_head(path: Path) -> Facts:
    """As ``look_at``, of the head of the file alone: nothing is said of alpha, sharpness or likeness."""
    try:
        with opened(path) as image:
            width, height = upright(image)
            return Facts("", "", width, height, str(image.format), bool(getattr(image, "is_animated", False)))
    except PictureError as error:
        return Facts(_fault_of(error), error.reason)


def sharpness(grey: Image.Image) -> float:
    """Variance of the Laplacian of the sharpest quarter of 16 tiles: a blurred background makes no picture blurry."""
    values = np.asarray(grey, dtype=np.float32)
    if min(values.shape) < 12:
        return 0.0
    inner = values[1:-1, 1:-1]
    edges = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner
    rows, columns = edges.shape[0] // 4 * 4, edges.shape[1] // 4 * 4
    tiles = edges[:rows, :columns].reshape(4, rows // 4, 4, columns // 4)
    return float(np.sort(tiles.var(axis=(1, 3)).ravel())[-4:].mean())


def likeness(grey: Image.Image) -> int | None:
    """Perceptual hash of 64 bits, by the library ImageHash; None for a picture of one colour."""
    import imagehash  # takes a moment to import, and is needed for new pictures only

    if np.asarray(grey).std() < FLAT:
        return None
    return int(str(imagehash.phash(grey)), 16)


def _grey(image: Image.Image) -> Image.Image:
    """Brightness at the fixed size, what is transparent over white."""
    factor = max(image.size) // (2 * SIDE)
    if factor > 1 and image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        image = image.reduce(factor)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        low, high = values.min(initial=0), max(values.max(initial=1), 1)
        image = Image.fromarray(((values - low) * (255 / max(high - low, 1))).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    grey = image.convert("RGB").convert("L") if image.mode != "L" else image.copy()
    grey.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return grey


def _is_transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else image.convert("RGBA").getchannel("A")
    low = alpha.getextrema()[0]
    return isinstance(low, int | float) and low < 255


def _fault_of(error: PictureError) -> Fault:
    cause = error.__cause__
    if isinstance(cause, PermissionError):
        return "locked"
    if isinstance(cause, Image.DecompressionBombError):
        return "large"
    return "cut" if "truncated" in error.reason or "Truncated" in error.reason else "broken"
