"""Which size each picture is trained at. Pure: sizes in, sizes out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from ...errors import JobError
from ...events import Warned
from ...jobs import Dataset
from ..scan import Item
from ..words import count, listed, name_of
from .crops import Bucket

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
    pool: int = 0
    """Batches are made of one pool alone."""
    alike: tuple[float, ...] = ()
    """What else the members of a batch have in common."""
    shown: tuple[Bucket, ...] = ()
    """Sizes of its reference pictures; empty: its own."""


def place(datasets: Sequence[Dataset], items: Sequence[Item], default_resolution: int | Sequence[int], multiple: int) -> list[Placed]:
    """Each item once for each resolution of its data set, or at one of its ``buckets``. A picture smaller than a resolution keeps its own size."""
    _check_given(datasets, multiple)
    sizes = [_size_of(item, datasets[item.dataset]) for item in items]
    _check_small(datasets, items, sizes, multiple)
    placements, (pools, _) = [], pools_of(datasets)
    for index, (item, size) in enumerate(zip(items, sizes, strict=True)):
        dataset = datasets[item.dataset]
        # a small picture has the same size at several resolutions, and is shown at it once
        for bucket in dict.fromkeys(_buckets_of(dataset, size, default_resolution, multiple)):
            repeats = dataset.num_repeats * item.repeats
            placements.append(Placed(index, bucket, repeats, pool=pools[item.dataset], alike=_alike(dataset, item)))
    return placements


def _alike(dataset: Dataset, item: Item) -> tuple[float, ...]:
    """What concerns a batch as a whole: the network's strength, where the right answer comes from, how many reference pictures and frames there are."""
    return dataset.network_weight, dataset.prior_reg, len(item.controls), item.frames


def pools_of(datasets: Sequence[Dataset]) -> tuple[list[int], list[Fraction] | None]:
    """The pool of each data set, and the weight of each pool; None where batches come as often as there are pictures for them.

    Sets with weights are kept apart. Where some sets are for regularisation, half of all batches come from those.
    """
    pools, weights = [0] * len(datasets), list[Fraction]()
    groups = [[index for index, dataset in enumerate(datasets) if dataset.is_reg is kind] for kind in (False, True)]
    for group in filter(None, groups):
        given = {index: datasets[index].weight for index in group}
        without = [index for index, weight in given.items() if weight is None]
        if without and len(without) < len(group):
            raise JobError(
                f"datasets[{without[0]}] has no weight, and other data sets have one.",
                "Give all data sets a weight, or none; num_repeats changes how often pictures come in a round.",
            )
        shares = [Fraction(1)] if without else [Fraction(str(given[index])) for index in group]
        for position, index in enumerate(group):
            pools[index] = len(weights) + (0 if without else position)
        weights += [share / sum(shares) for share in shares]
    return pools, weights if len(weights) > 1 else None


def sizing_notes(datasets: Sequence[Dataset]) -> Iterator[Warned]:
    """Settings of sizes, crops and shares that have no effect."""
    _, weights = pools_of(datasets)
    for index, dataset in enumerate(datasets):
        where = f"datasets[{index}]"
        if dataset.weight is not None and weights is None:
            yield Warned(message=f"{where}.weight has no effect: there is no other data set to share batches with.")
        if dataset.weight is not None and dataset.num_repeats > 1:
            yield Warned(message=f"{where}.num_repeats has no effect beside weight: all of its pictures come as often.")
        if dataset.random_crop and dataset.crop == "top":
            yield Warned(message=f"{where}.crop has no effect: random_crop cuts somewhere else each time.")
        if dataset.num_controls_from_same_folder > 1 and not dataset.control_from_same_folder:
            yield Warned(message=f"{where}.num_controls_from_same_folder has no effect without control_from_same_folder.")


def _size_of(item: Item, dataset: Dataset) -> tuple[int, int]:
    """The size of which the bucket is chosen: the picture's, unless it is scaled first, or cut to a square."""
    width, height = (max(1, round(side * dataset.scale)) for side in (item.width, item.height))
    return (min(width, height),) * 2 if dataset.square_crop else (width, height)


def _buckets_of(dataset: Dataset, size: tuple[int, int], default: int | Sequence[int], multiple: int) -> list[Bucket]:
    if dataset.buckets:
        chosen = nearest(*size, tuple((width, height) for width, height in dataset.buckets), dataset.upscale)
        return [chosen] if chosen else []
    resolutions = dataset.resolution or default
    several = [resolutions] if isinstance(resolutions, int) else resolutions
    return [bucket_of(*size, resolution, multiple, dataset.upscale) for resolution in several]


def _check_given(datasets: Sequence[Dataset], multiple: int) -> None:
    for index, dataset in enumerate(datasets):
        if odd := [f"{width} × {height}" for width, height in dataset.buckets if width % multiple or height % multiple]:
            raise JobError(
                f"datasets[{index}].buckets has sizes that this model cannot have: {listed(odd)}.",
                f"Sides are multiples of {multiple}.",
            )


def _check_small(datasets: Sequence[Dataset], items: Sequence[Item], sizes: Sequence[tuple[int, int]], multiple: int) -> None:
    held = [(item, size) for item, size in zip(items, sizes, strict=True) if not datasets[item.dataset].upscale]
    small = [item for item, size in held if not datasets[item.dataset].buckets and min(size) < multiple]
    if small:
        raise JobError(
            f"{count(len(small), 'picture is', 'pictures are')} too small for this model: {_named(small)}.",
            f"Each side must have at least {multiple} pixels. Take them out, or set upscale.",
        )
    for index, dataset in enumerate(datasets):
        given = tuple((width, height) for width, height in dataset.buckets)
        if lost := [item for item, size in held if given and item.dataset == index and nearest(*size, given) is None]:
            raise JobError(
                f"{count(len(lost), 'picture is', 'pictures are')} smaller than every size in datasets[{index}].buckets: {_named(lost)}.",
                "Add a smaller size, take them out, or set upscale.",
            )


def _named(items: Sequence[Item]) -> str:
    return listed([f"{name_of(item.path)} ({item.width} × {item.height})" for item in items])


@lru_cache(maxsize=65536)
def nearest(width: int, height: int, buckets: tuple[Bucket, ...], upscale: bool = False) -> Bucket | None:
    """Of ``buckets`` the one nearest to the picture's shape, the largest of that shape; without ``upscale`` of those that are no larger than it."""
    fitting = [bucket for bucket in buckets if upscale or (bucket[0] <= width and bucket[1] <= height)]
    return min(fitting, key=lambda one: (abs(math.log(one[0] * height / (one[1] * width))), -one[0] * one[1], one), default=None)


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
