"""What is told of control and reference pictures before they are made and read. No torch here."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..data.files.heads import read_heads
from ..data.files.listing import stamped
from ..data.scan import Item
from ..data.sizes.buckets import Placed
from ..data.words import count, listed, name_of
from ..events import Event, Warned
from ..jobs import Dataset

LEAST = 0.5
"""Share of a side that is enlarged without a word."""


def as_made(item: Item, dataset: Dataset) -> Item:
    """The item as it will be once all is made, as far as checks look at it: the places are no real ones."""
    kinds = tuple(Path(kind) for kind in dict.fromkeys(dataset.controls))
    return replace(item, controls=(*item.controls, *kinds), erased=Path("inpaint") if dataset.auto_inpaint else item.erased)


def controls_notes(datasets: Sequence[Dataset]) -> Generator[Event, None, None]:
    """Kinds that are named twice: they are made once."""
    for index, dataset in enumerate(datasets):
        if len(set(dataset.controls)) < len(dataset.controls):
            yield Warned(message=f"datasets[{index}].controls names a kind twice; it is shown once.")


def small_controls(items: Sequence[Item], placed: Sequence[Placed]) -> Iterator[Warned]:
    """Warns of pictures that are enlarged to more than twice their sides, to fit the picture that they go with."""
    fitted = [
        (path, one.bucket)
        for one in placed
        if not one.shown
        for path in items[one.item].controls
        if path != items[one.item].path and path.is_file()
    ]
    files = stamped({str(path) for path, _ in fitted})
    heads = {path: head for (path, _), head in zip(files, read_heads(files, several=False), strict=True)}
    small = {
        path: f"{name_of(path)} ({head.width} x {head.height})"
        for path, (width, height) in fitted
        if (head := heads[str(path)]).width and (head.width < width * LEAST or head.height < height * LEAST)
    }
    if small:
        yield Warned(
            message=f"{count(len(small), 'control picture is', 'control pictures are')} enlarged to more than twice the size, which shows little: {listed(list(small.values()))}.",
            hint="Make them as large as the pictures that they go with; a controls job does.",
        )
