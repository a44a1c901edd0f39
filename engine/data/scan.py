"""From a data set's settings to its items: what there is, how large, and what the captions say. Reads heads of files only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import JobError
from ..jobs import Dataset
from ..settings import resolve
from .captions import apply_trigger, read_caption
from .controls import find_controls
from .pictures import PictureError, find_foreign, find_pictures, measure
from .words import count, listed, name_of, printable


@dataclass(frozen=True, slots=True)
class Item:
    """A picture to learn from."""

    path: Path
    width: int
    """Pixels, as a person sees the picture."""
    height: int
    caption: str
    """With the trigger words in place."""
    dataset: int = 0
    """Index of its data set in the job."""
    flip: bool = False
    """Shown mirrored."""
    controls: tuple[Path, ...] = ()
    """Reference pictures, one of each control folder."""


def scan(dataset: Dataset, trigger: str | None = None, index: int = 0) -> list[Item]:
    """The items of a data set, in the order of their names; each twice, the second mirrored, with flip_x.

    Raises JobError where a person has to do something first.
    """
    folder = resolve(dataset.path)
    paths = find_pictures(folder)
    if not paths:
        raise JobError(
            f"There are no pictures in {printable(folder)}.",
            foreign_hint(find_foreign(folder)) or "Add .jpg, .png or .webp files.",
        )
    sizes = _measure_all(paths)
    captions = _read_captions(paths, dataset, folder)
    controls = find_controls(paths, folder, dataset.control_path)
    return [
        Item(path, *size, apply_trigger(caption, trigger), index, flip, mates)
        for path, size, caption, mates in zip(paths, sizes, captions, controls, strict=True)
        for flip in ((False, True) if dataset.flip_x else (False,))
    ]


def foreign_hint(paths: list[Path]) -> str:
    """What to do about pictures that cannot be read here; empty if there are none."""
    kinds = sorted({path.suffix[1:].upper() for path in paths})
    return (
        f"{count(len(paths), 'file is', 'files are')} of a kind that cannot be read ({', '.join(kinds)}). Save as JPEG or PNG."
        if paths
        else ""
    )


def _measure_all(paths: list[Path]) -> list[tuple[int, int]]:
    sizes, broken = [], []
    for path in paths:
        try:
            sizes.append(measure(path))
        except PictureError as error:
            broken.append(error)
    if len(broken) == 1:
        raise broken[0]
    if broken:
        told = listed([f"{name_of(error.path)} ({error.reason})" for error in broken])
        raise JobError(
            f"{count(len(broken), 'picture')} cannot be read: {told}.",
            "Replace the files, or take them out of the folder.",
        )
    return sizes


def _read_captions(paths: list[Path], dataset: Dataset, folder: Path) -> list[str]:
    captions = [read_caption(path, dataset.caption_ext) for path in paths]
    missing = [path for path, caption in zip(paths, captions, strict=True) if caption is None]
    if missing and dataset.default_caption is None:
        raise JobError(
            f"{count(len(missing), 'picture has', 'pictures have')} no caption in {printable(folder)}: {listed([name_of(path) for path in missing])}.",
            f"Write a {dataset.caption_ext} file beside each, or set default_caption.",
        )
    return [dataset.default_caption or "" if caption is None else caption for caption in captions]
