"""Pictures that are too small, or too long, for the size that is trained at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..sizes.buckets import MAX_ASPECT
from .album import Album
from .finding import Finding, found, well


def about_sizes(album: Album, resolutions: Sequence[int], multiple: int, upscale: bool = False, scale: float = 1.0) -> Iterator[Finding]:
    """What is smaller than the smallest of ``resolutions``; nothing is said of that without one."""
    good = album.good()
    width, height = np.array(album.width, dtype=np.int64), np.array(album.height, dtype=np.int64)
    wide, high = (np.maximum(1, np.round(sides * scale)).astype(np.int64) for sides in (width, height))
    tiny = good & (np.minimum(wide, high) < multiple) & (not upscale)
    why = f"too small to train on: a side has under {multiple} pixels"
    yield from found("problem", "tiny", album.named(tiny), f"is {why}", f"are {why}")
    resolution = min(resolutions, default=0)
    small = good & ~tiny & (wide * high < resolution**2)
    size = f"{resolution} × {resolution} pixels"
    ends = ("is enlarged", "are enlarged") if upscale else ("is trained at its own size", "are trained at their own size")
    yield from found("look", "small", album.named(small), f"is smaller than {size} and {ends[0]}", f"are smaller than {size} and {ends[1]}")
    if resolution and not tiny.any() and not small.any():
        yield from well("small", int(good.sum()), f"is large enough for {size}", f"are large enough for {size}")
    long = good & (np.maximum(width, height) > MAX_ASPECT * np.minimum(width, height))
    told = f"longer than {MAX_ASPECT} to 1: only the middle is learned"
    yield from found("look", "aspect", album.named(long), f"is {told}", f"are {told}")
