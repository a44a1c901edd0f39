"""Masks, inpainting and reference pictures: whether each picture has its own, and whether some are left over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import JobError
from ...jobs import Dataset
from ...settings import resolve
from ..files.listing import find_pictures
from ..words import count, listed, printable
from .finding import Finding, Kind, found


def about_mates(paths: Sequence[str], folder: Path, dataset: Dataset) -> Iterator[Finding]:
    """``paths`` lie in ``folder``; a mate has the same path in its own folder, whatever its ending."""
    columns: list[tuple[Kind, str, str, bool]] = []
    if dataset.mask_path:
        columns.append(("mask", dataset.mask_path, "mask", not dataset.allow_missing))
    if dataset.inpaint_path:
        columns.append(("mask", dataset.inpaint_path, "inpainting picture", not dataset.allow_missing))
    columns += [("control", name, "reference picture", True) for name in dataset.control_path]
    if not columns:
        return
    stems = {Path(path).relative_to(folder).with_suffix(""): path for path in paths}
    for kind in ("mask", "control"):
        told: list[Finding] = []
        for _, name, noun, needed in (column for column in columns if column[0] == kind):
            told += _column(kind, stems, resolve(name), noun, needed)
        if told:  # one finding of a kind
            worst = min(told, key=lambda one: ("problem", "look", "ok").index(one.level))
            same = [one for one in told if one.level == worst.level]
            yield Finding(worst.level, worst.kind, " ".join(one.message for one in same), [file for one in same for file in one.files])


def _column(kind: Kind, stems: dict[Path, str], place: Path, noun: str, needed: bool) -> Iterator[Finding]:
    try:
        mates = {path.relative_to(place).with_suffix(""): path for path in find_pictures(place)}
    except JobError as error:
        yield Finding("problem", kind, str(error))
        return
    missing = [path for stem, path in stems.items() if stem not in mates]
    names = listed([Path(path).name for path in missing])
    told = f"no {noun} in {printable(place)}: {names}"
    yield from found("problem" if needed else "look", kind, missing, f"has {told}", f"have {told}")
    left = [path for stem, path in mates.items() if stem not in stems]
    if left:
        names = listed([path.name for path in left])
        yield Finding("look", kind, f"{count(len(left), f'{noun} belongs', f'{noun}s belong')} to no picture: {names}.", left)
    if not missing and not left:
        yield Finding("ok", kind, f"Each picture has its {noun}.")
