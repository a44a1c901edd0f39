"""Pictures that are not sharp, and sets of which only some are transparent."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .album import Album
from .finding import Finding, found

BLURRY = 20.0
"""A picture whose sharpest parts vary by less than this is blurry: see ``facts.sharpness``."""
LEAST = 128
"""Smaller pictures are not judged: what they show has no room to be sharp."""


def about_looks(album: Album) -> Iterator[Finding]:
    good = album.good()
    sides = np.minimum(np.array(album.width, dtype=np.int64), np.array(album.height, dtype=np.int64))
    drawn = np.array(album.likeness, dtype=np.uint64) != 0  # a picture of one colour is not blurry
    blurry = good & drawn & (sides >= LEAST) & (np.array(album.sharpness) < BLURRY)
    yield from found("look", "blurry", album.named(blurry), "looks blurry", "look blurry")
    clear = good & (np.array(album.alpha) > 0)
    if clear.any() and not clear[good].all():
        told = "while the others are not: where it shows through, the data set's alpha_color is learned"
        yield from found("look", "alpha", album.named(clear), f"is partly transparent, {told}", f"are partly transparent, {told}")
