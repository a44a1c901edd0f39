"""Reference pictures of an edit model: for each picture of a data set, its mate in each control folder, or others of its own folder."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ...errors import JobError
from ...jobs import Dataset
from ...settings import resolve
from ..chance import number
from ..files.listing import Stamped, find_pictures
from ..words import count, listed, name_of, printable


def find_controls(paths: Sequence[Path], folder: Path, dataset: Dataset) -> list[tuple[Path, ...]]:
    """The reference pictures of each of ``paths``, which lie in ``folder``, in the order of the control folders.

    One that is missing is an error: positions never shift.
    """
    if dataset.control_from_same_folder:
        return _drawn(paths, folder, dataset.num_controls_from_same_folder)
    columns = [_all_mates(paths, folder, resolve(name)) for name in dataset.control_path]
    return list(zip(*columns, strict=True)) if columns else [()] * len(paths)


def find_mates(paths: Sequence[Path], folder: Path, other: Path) -> list[Path | None]:
    """For each of ``paths`` the picture with the same path within the folder ``other``, whatever its ending; None where there is none.

    JobError if there are two, as only their endings tell them apart.
    """
    by_stem: dict[Path, list[Path]] = defaultdict(list)
    for path in find_pictures(other):
        by_stem[path.relative_to(other).with_suffix("")].append(path)
    found = [by_stem.get(path.relative_to(folder).with_suffix(""), []) for path in paths]
    for mates in found:
        if len(mates) > 1:
            raise JobError(
                f"{printable(other)} has {len(mates)} pictures for one: {listed([name_of(mate) for mate in mates])}.",
                "Keep one of them, or give them names of their own.",
            )
    return [mates[0] if mates else None for mates in found]


def without_mates(files: list[Stamped], folder: Path, dataset: Dataset) -> list[Stamped]:
    """Those of the files in ``folder`` that are to be learned: not what lies in folders in it that hold its reference pictures, masks or inpainting pictures."""
    root = folder.resolve()
    others = [resolve(name).resolve() for name in (*dataset.control_path, dataset.mask_path, dataset.inpaint_path) if name]
    inside = tuple(str(folder / other.relative_to(root)) + os.sep for other in others if root in other.parents)
    return [file for file in files if not file[0].startswith(inside)] if inside else files


def _all_mates(paths: Sequence[Path], folder: Path, controls: Path) -> list[Path]:
    found = find_mates(paths, folder, controls)
    if missing := [path for path, mate in zip(paths, found, strict=True) if mate is None]:
        told = listed([name_of(path) for path in missing])
        raise JobError(
            f"{count(len(missing), 'picture has', 'pictures have')} no reference picture in {printable(controls)}: {told}.",
            "Put one there under the same name, or take the picture out.",
        )
    return [mate for mate in found if mate is not None]


def _drawn(paths: Sequence[Path], folder: Path, wanted: int) -> list[tuple[Path, ...]]:
    """``wanted`` other pictures of each one's own folder, by chance, and the same ones each time."""
    neighbours: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        neighbours[path.parent].append(path)
    if lonely := [path for path in paths if len(neighbours[path.parent]) <= wanted]:
        raise JobError(
            f"{count(len(lonely), 'picture has', 'pictures have')} fewer than {count(wanted, 'other')} beside them to be shown: {listed([name_of(path) for path in lonely])}.",
            "Add pictures to the folder, or lower num_controls_from_same_folder.",
        )
    return [_mates_beside(path, neighbours[path.parent], str(path.relative_to(folder)), wanted) for path in paths]


def _mates_beside(path: Path, beside: Sequence[Path], name: str, wanted: int) -> tuple[Path, ...]:
    chosen: dict[Path, None] = {}
    turn = 0
    while len(chosen) < wanted:
        one = beside[number("mate", turn, name) % len(beside)]
        turn += 1
        if one != path:
            chosen[one] = None
    return tuple(chosen)
