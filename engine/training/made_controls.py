"""Reference pictures that are made of the pictures themselves: the ``controls`` of a data set.

They lie in the cache, named by what they are made of, so that only those of new or changed pictures are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from ..control import Control
from ..data.notes import Notes
from ..data.pictures import digest
from ..data.room import Use, touch
from ..data.scan import Item
from ..data.words import listed, name_of
from ..errors import JobError
from ..events import Event, Warned
from ..jobs import Dataset
from ..jobs.tools import Annotators, ControlKind
from ..settings import load_settings
from ..tools.controls import write_controls

VERSION = 1
"""Raised when the same picture gives another control picture than before."""
Places = dict[ControlKind, dict[Path, Path]]
"""Of each kind, where the control picture of each picture is, or will be."""


def plan_controls(datasets: Sequence[Dataset], items: Sequence[Item]) -> tuple[list[Item], Places]:
    """The items with their control pictures as their last references; and where those are to be. Reads each picture's bytes, writes nothing.

    Raises JobError for a video in a data set with ``controls``.
    """
    asking = [item for item in items if datasets[item.dataset].controls]
    if films := list(dict.fromkeys(name_of(item.path) for item in asking if item.clip)):
        raise JobError(f"controls are made of pictures, and the data has videos: {listed(films)}.", "Leave out controls, or take the videos out.")
    if not asking:
        return list(items), {}
    folder, places = _folder(), Places()
    digests = dict(Notes(load_settings().folder("cache")).about("digest", list(dict.fromkeys(item.path for item in asking)), digest))

    def planned(item: Item) -> Item:
        kinds = list(dict.fromkeys(datasets[item.dataset].controls))
        made = [folder / kind / f"{digests[item.path]}.png" for kind in kinds]
        for kind, place in zip(kinds, made, strict=True):
            places.setdefault(kind, {})[item.path] = place
        return replace(item, controls=(*item.controls, *made))

    return [planned(item) if datasets[item.dataset].controls else item for item in items], places


def fill_controls(places: Places, control: Control) -> Generator[Event, None, Use | None]:
    """Makes those that are not there; returns what keeps all of them in the cache for as long as it lives. Raises Stopped when asked to stop."""
    if not places:
        return None
    use = Use(_folder())
    touch(_folder())
    yield from write_controls({kind: list(of_kind.items()) for kind, of_kind in places.items()}, lambda path, made: made.is_file(), control)
    control.check()
    if missing := [path for of_kind in places.values() for path, made in of_kind.items() if not made.is_file()]:
        raise JobError(f"No control picture could be made of {listed([name_of(path) for path in missing])}.", "Take it out, or leave out controls.")
    return use


def controls_notes(datasets: Sequence[Dataset]) -> Generator[Event, None, None]:
    """Kinds that are named twice: they are made once."""
    for index, dataset in enumerate(datasets):
        if len(set(dataset.controls)) < len(dataset.controls):
            yield Warned(message=f"datasets[{index}].controls names a kind twice; it is shown once.")


def _folder() -> Path:
    told = f"{VERSION} {Annotators().model_dump_json()}"
    return load_settings().folder("cache") / "controls" / hashlib.sha256(told.encode()).hexdigest()[:16]
