"""What is made of the pictures themselves: reference pictures, the ``controls`` of a data set; masks and erased copies, its ``auto_mask`` and ``auto_inpaint``.

They lie in the cache, named by what they are made of, so that only those of new or changed pictures are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from ..control import Control
from ..data.caches.room import Use, touch
from ..data.files.notes import Notes
from ..data.files.pictures import digest
from ..data.mates.masks import nothing_erased, nothing_shown
from ..data.scan import Item
from ..data.words import count, listed, name_of
from ..errors import JobError
from ..events import Event, Warned
from ..jobs import Dataset
from ..jobs.tools.controls import Annotators, ControlKind
from ..jobs.tools.masks import ClipSeg
from ..settings import load_settings
from ..tools.controls import write_controls

VERSION = 1
"""Raised when the same picture gives another control picture than before."""
Words = tuple[str, ...]
"""What is looked for in the pictures; none for control pictures."""
Places = dict[Words, dict[ControlKind, dict[Path, Path]]]
"""Of each kind, where what is made of each picture is, or will be."""


def plan_controls(datasets: Sequence[Dataset], items: Sequence[Item]) -> tuple[list[Item], Places]:
    """The items with their control pictures as their last references, and with what is masked or erased by words; and where all that is to be.

    Reads each picture's bytes, writes nothing. Raises JobError for a video in such a data set.
    """
    asking = [item for item in items if _asked(datasets[item.dataset])]
    if film := next((item for item in asking if item.clip), None):
        key = _asked(datasets[film.dataset])[0]
        films = list(dict.fromkeys(name_of(item.path) for item in asking if item.clip))
        raise JobError(
            f"{key} {'are' if key == 'controls' else 'is'} made of pictures, and the data has videos: {listed(films)}.",
            f"Leave out {key}, or take the videos out.",
        )
    if not asking:
        return list(items), {}
    places = Places()
    digests = dict(Notes(load_settings().folder("cache")).about("digest", list(dict.fromkeys(item.path for item in asking)), digest))

    def place(item: Item, kind: ControlKind, words: Sequence[str] = ()) -> Path:
        made = _folder(tuple(words)) / kind / f"{digests[item.path]}.png"
        places.setdefault(tuple(words), {}).setdefault(kind, {})[item.path] = made
        return made

    def planned(item: Item) -> Item:
        dataset = datasets[item.dataset]
        controls = [place(item, kind) for kind in dict.fromkeys(dataset.controls)]
        mask = place(item, "mask", dataset.auto_mask) if dataset.auto_mask else item.mask
        erased = place(item, "inpaint", dataset.auto_inpaint) if dataset.auto_inpaint else item.erased
        return replace(item, controls=(*item.controls, *controls), mask=mask, erased=erased)

    return [planned(item) if _asked(datasets[item.dataset]) else item for item in items], places


def made_in(places: Places) -> set[Path]:
    """All that is made."""
    return {made for kinds in places.values() for of_kind in kinds.values() for made in of_kind.values()}


def fill_controls(places: Places, control: Control) -> Generator[Event, None, list[Use]]:
    """Makes those that are not there; returns what keeps all of them in the cache for as long as it lives. Raises Stopped when asked to stop."""
    uses = []
    for words, kinds in places.items():
        uses.append(Use(_folder(words)))
        touch(_folder(words))
        yield from write_controls(
            {kind: list(of_kind.items()) for kind, of_kind in kinds.items()}, lambda path, made: made.is_file(), control, _settings(words)
        )
        control.check()
        if missing := [path for of_kind in kinds.values() for path, made in of_kind.items() if not made.is_file()]:
            asked = "auto_mask and auto_inpaint" if words else "controls"
            raise JobError(
                f"No control picture could be made of {listed([name_of(path) for path in missing])}.", f"Take it out, or leave out {asked}."
            )
        if words:
            yield from _not_found(words, kinds)
    return uses


def _not_found(words: Words, kinds: Mapping[ControlKind, Mapping[Path, Path]]) -> Generator[Event, None, None]:
    """Pictures in which nothing is found."""
    for kind, key, look in (("mask", "auto_mask", nothing_shown), ("inpaint", "auto_inpaint", nothing_erased)):
        of_kind = kinds.get(cast(ControlKind, kind), {})
        empty = set(look(list(of_kind.values())))
        if names := [name_of(path) for path, made in of_kind.items() if made in empty]:
            without = "Nothing of them is learned" if kind == "mask" else "They are drawn as they are"
            yield Warned(
                message=f"{key} finds no {' and no '.join(map(repr, words))} in {count(len(names), 'picture')}: {listed(names)}. {without}.",
                hint=f"Name in {key} what is in the pictures, or take these out.",
            )


def _asked(dataset: Dataset) -> list[str]:
    """The keys of a data set that ask for pictures to be made."""
    return [key for key in ("controls", "auto_mask", "auto_inpaint") if getattr(dataset, key)]


def _settings(words: Words) -> Annotators:
    return Annotators(masker=ClipSeg(type="clipseg", prompts=list(words))) if words else Annotators()


def _folder(words: Words) -> Path:
    told = f"{VERSION} {_settings(words).model_dump_json()}"
    return load_settings().folder("cache") / "controls" / hashlib.sha256(told.encode()).hexdigest()[:16]
