"""How many of what there are: sizes, shapes, buckets, lengths of captions, words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ...errors import JobError
from ...jobs import Dataset
from ..scan import Item
from ..sizes.buckets import place
from .album import Album, Texts

Table = list[tuple[str, int]]
"""Label and number, as a histogram shows them."""
MOST = 20
"""Words and sizes that are named."""
COMMON = frozenset(
    "the and with for are was were has have had its his her their our your this that these those from into onto over under there here "
    "who which what when where while than then them they she him you not but one two all any some".split()
)
"""English words that say nothing about a picture."""
_MEGAPIXELS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_LENGTHS = (5, 10, 20, 40, 80, 160, 320, 640)
_SHAPES = ((1, 4), (9, 21), (9, 16), (2, 3), (3, 4), (4, 5), (1, 1), (5, 4), (4, 3), (3, 2), (16, 9), (21, 9), (4, 1))


@dataclass(frozen=True)
class Counts:
    """Tables of a data set."""

    pictures: int = 0
    captions: int = 0
    unusable: int = 0
    megapixels: Table = field(default_factory=list)
    sizes: Table = field(default_factory=list)
    """The most frequent ones, as width × height."""
    shapes: Table = field(default_factory=list)
    """By the nearest usual shape, from tall to wide."""
    buckets: Table = field(default_factory=list)
    """Sizes that are trained at; empty without a resolution."""
    lengths: Table = field(default_factory=list)
    """Words in a caption."""
    words: Table = field(default_factory=list)
    """The most frequent ones."""


def count_all(album: Album, texts: Texts, dataset: Dataset, resolutions: Sequence[int], multiple: int) -> Counts:
    sizes = Counter((width, height) for width, height in zip(album.width, album.height, strict=True) if width)
    shapes: Counter[str] = Counter()
    areas: Counter[float] = Counter()
    for (width, height), number in sizes.items():
        shapes[_shape(width / height)] += number
        areas[width * height / 1e6] += number
    named = [f"{wide}:{high}" for wide, high in _SHAPES]
    words = [(word, number) for word, number in texts.words.most_common(MOST + len(COMMON)) if word not in COMMON]
    return Counts(
        pictures=len(album.paths),
        captions=texts.number,
        unusable=len(album.faults),
        megapixels=_binned(areas, _MEGAPIXELS, "MP"),
        sizes=[(f"{width} × {height}", number) for (width, height), number in sizes.most_common(MOST)],
        shapes=[(name, shapes[name]) for name in named if shapes[name]],
        buckets=_buckets(sizes, dataset, resolutions, multiple),
        lengths=_binned(texts.lengths, _LENGTHS, "words"),
        words=words[:MOST],
    )


def _shape(ratio: float) -> str:
    wide, high = min(_SHAPES, key=lambda shape: abs(shape[0] / shape[1] - ratio) / max(shape[0] / shape[1], ratio))
    return f"{wide}:{high}"


def _binned(values: Counter[int] | Counter[float], edges: Sequence[float], unit: str) -> Table:
    """``under 5``, ``5 to 10``, …, without the empty ones at both ends."""
    labels = [f"under {edges[0]:g}", *(f"{low:g} to {high:g}" for low, high in pairwise(edges)), f"{edges[-1]:g} or more"]
    numbers = [0] * len(labels)
    for value, number in values.items():
        numbers[sum(value >= edge for edge in edges)] += number
    filled = [index for index, number in enumerate(numbers) if number]
    return [(f"{labels[index]} {unit}", numbers[index]) for index in range(filled[0], filled[-1] + 1)] if filled else []


def _buckets(sizes: Counter[tuple[int, int]], dataset: Dataset, resolutions: Sequence[int], multiple: int) -> Table:
    kinds = [size for size in sizes if dataset.upscale or min(size) * dataset.scale >= multiple]
    if not kinds or not (resolutions or dataset.buckets):
        return []
    try:
        placed = place([dataset], [Item(Path(), width, height, "") for width, height in kinds], list(resolutions), multiple)
    except JobError:
        return []  # what is in the way is one of the findings
    buckets: Counter[tuple[int, int]] = Counter()
    for one in placed:
        buckets[one.bucket] += sizes[kinds[one.item]] * one.repeats
    return [(f"{width} × {height}", number) for (width, height), number in sorted(buckets.items(), key=lambda one: -one[1])]
