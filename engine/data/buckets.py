"""Which size each picture is trained at. Pure: sizes in, sizes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..errors import JobError
from ..jobs import Dataset
from .scan import Item
from .words import count, listed, name_of

Bucket = tuple[int, int]
"""Width and height in pixels."""

MAX_ASPECT = 4
"""A picture that is longer than this is trained on its middle."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An item at one size."""

    item: int
    """Index of the item."""
    bucket: Bucket
    repeats: int = 1
    """How often it comes in an epoch."""


def place(
    datasets: Sequence[Dataset], items: Sequence[Item], default_resolution: int | Sequence[int], multiple: int
) -> list[Placed]:
    """Each item once for each resolution of its data set. A picture smaller than a resolution keeps its own size."""
    small = [
        item
        for item in items
        if not datasets[item.dataset].upscale and min(item.width, item.height) < multiple
    ]
    if small:
        told = listed([f"{name_of(item.path)} ({item.width} × {item.height})" for item in small])
        raise JobError(
            f"{count(len(small), 'picture is', 'pictures are')} too small for this model: {told}.",
            f"Each side must have at least {multiple} pixels. Take them out, or set upscale.",
        )
    placements = []
    for index, item in enumerate(items):
        dataset = datasets[item.dataset]
        resolutions = dataset.resolution or default_resolution
        for resolution in [resolutions] if isinstance(resolutions, int) else resolutions:
            bucket = bucket_of(item.width, item.height, resolution, multiple, dataset.upscale)
            placements.append(Placed(index, bucket, dataset.num_repeats))
    return placements


@lru_cache(maxsize=65536)
def bucket_of(width: int, height: int, resolution: int, multiple: int, upscale: bool = False) -> Bucket:
    """The size nearest to the picture's shape whose area is at most resolution², and near it.

    Sides are multiples of ``multiple``, in steps of about a sixteenth of the resolution, so that pictures of about the
    same shape share a bucket. Never larger than the picture, unless ``upscale``.
    """
    if not upscale and min(width, height) < multiple:
        raise JobError(
            f"A picture of {width} × {height} pixels is too small.",
            f"Each side must have at least {multiple}.",
        )
    shape_width, shape_height = min(width, MAX_ASPECT * height), min(height, MAX_ASPECT * width)
    area = resolution**2
    if not upscale and shape_width * shape_height <= area:
        return shape_width // multiple * multiple, shape_height // multiple * multiple
    step = multiple * max(1, resolution // (16 * multiple))
    limit_width, limit_height = (area, area) if upscale else (width, height)
    shape = shape_width / shape_height

    def down(length: float) -> int:
        return int(length) // step * step

    def cropped(bucket: Bucket) -> float:
        return abs(math.log(bucket[0] / bucket[1] / shape))

    # around the ideal sides, which are seldom multiples: each with as much of the other side as the area allows
    near_width = [down(math.sqrt(area * shape)) + extra for extra in (0, step)]
    near_height = [down(math.sqrt(area / shape)) + extra for extra in (0, step)]
    candidates = [(w, down(min(area / w, limit_height))) for w in near_width if 0 < w <= limit_width]
    candidates += [(down(min(area / h, limit_width)), h) for h in near_height if 0 < h <= limit_height]
    return min(filter(min, candidates), key=cropped, default=(multiple, multiple))
