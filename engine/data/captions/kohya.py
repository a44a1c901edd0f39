"""Folders named as kohya's trainer wants them: ``10_cats`` is seen 10 times an epoch, and "cats" is said of its pictures.

There, only sub-folders of the folder that is trained on are named so, and the name stands in where a picture has no
caption file. A person who never heard of it may name a folder 2023_holiday, or sort with 1_front and 2_side; so unless
the job says so, only a data set all of whose folders are unmistakably of this kind is taken as one, and that is told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import JobError
from ..files.listing import folders_of
from ..words import name_of

MOST = 10_000
_NAME = re.compile(r"(\d+)_(.*)", re.DOTALL)
_UNMISTAKABLE = re.compile(r"[1-9]\d{0,2}_\s*\S.*", re.DOTALL)
"""A number that is no year and is not filled up with zeros, and a name."""


class Folder(NamedTuple):
    """What the name of a folder says of the pictures in it."""

    repeats: int
    caption: str | None


def kohya_folders(paths: Sequence[str], folder: Path, wanted: bool | None) -> dict[Path, Folder]:
    """For each folder that counts as one: what its name says. ``wanted`` is the job's ``kohya_folders``.

    With None, only where every picture lies in a sub-folder of that kind; with True also ``folder`` itself, and those
    sub-folders that are, among others that are not.
    """
    if wanted is False:
        return {}
    homes = list(map(Path, folders_of(paths)))
    tops = {home.relative_to(folder).parts[0] if home != folder else "" for home in homes}
    if wanted is None and not (all(home.parent == folder for home in homes) and _are_unmistakable(sorted(tops))):
        return {}
    named = {folder / top: _read(folder / top) for top in sorted(tops)}
    return {place: found for place, found in named.items() if found}


def _are_unmistakable(names: list[str]) -> bool:
    if not all(_UNMISTAKABLE.fullmatch(name) for name in names):
        return False
    numbers = sorted(int(name.partition("_")[0]) for name in names)
    return len(names) == 1 or numbers != list(range(1, len(names) + 1))  # 1_, 2_, 3_ only sort


def _read(folder: Path) -> Folder | None:
    match = _NAME.fullmatch(folder.name)
    if not match or int(match[1]) < 1:
        return None
    if int(match[1]) > MOST:
        raise JobError(
            f"The folder {name_of(folder)} asks for {int(match[1]):,} repeats; {MOST:,} are the most.",
            "Rename it, or set kohya_folders to false.",
        )
    return Folder(int(match[1]), match[2].strip() or None)
