"""What of a picture is learned: a mask of the same name in another folder, or the picture's own transparency; and what of it is drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import JobError
from ...jobs import Dataset
from ...settings import load_settings, resolve
from ..files.clips import VIDEO_SUFFIXES
from ..files.notes import Notes
from ..files.pictures import PictureError, decode_mask
from ..words import count, listed, name_of, printable
from .controls import find_mates


def find_masks(paths: Sequence[Path], folder: Path, dataset: Dataset) -> list[Path | None]:
    """The mask of each of ``paths``, which lie in ``folder``; the picture itself where its transparency is the mask.

    One that is missing is an error, unless the data set allows it: then it is None, and all of the picture is learned.
    """
    _not_both(dataset, "alpha_mask", "mask_path", "auto_mask")
    if dataset.alpha_mask:
        return [None if path.suffix.lower() in VIDEO_SUFFIXES else path for path in paths]
    return _mates(paths, folder, dataset.mask_path, dataset.allow_missing, "mask", "learn such pictures whole")


def find_erased(paths: Sequence[Path], folder: Path, dataset: Dataset) -> list[Path | None]:
    """Of each of ``paths``, the copy whose transparency says what is drawn anew; None where all of it is.

    One that is missing is an error, unless the data set allows it.
    """
    _not_both(dataset, "inpaint_path", "auto_inpaint")
    return _mates(paths, folder, dataset.inpaint_path, dataset.allow_missing, "inpainting picture", "have such pictures drawn as a whole")


def nothing_erased(paths: Sequence[Path]) -> list[Path]:
    """Those of these copies in which nothing is transparent, each once; not those that cannot be read. Remembered until they change."""
    return _that_reach_only("erased", paths, 255, lambda path: decode_mask(path, alpha=True).getextrema()[0])


def nothing_shown(paths: Sequence[Path]) -> list[Path]:
    """Those of these masks that are all black, as ``nothing_erased``."""
    return _that_reach_only("shown", paths, 0, lambda path: decode_mask(path).getextrema()[1])


def _that_reach_only(topic: str, paths: Sequence[Path], limit: int, extreme: Callable[[Path], object]) -> list[Path]:
    """Those whose extreme value, of 0 to 255, is the limit."""

    def find_out(path: Path) -> str:
        try:
            return str(extreme(path))
        except PictureError as error:
            return error.reason

    known = Notes(load_settings().folder("cache")).about(topic, list(dict.fromkeys(paths)), find_out)
    return [path for path, value in known if value == str(limit)]


def _not_both(dataset: Dataset, *keys: str) -> None:
    if len(given := [key for key in keys if getattr(dataset, key)]) > 1:
        raise JobError(f"A data set has both {given[0]} and {given[1]}.", "Leave one of them out.")


def _mates(paths: Sequence[Path], folder: Path, other: str | None, may_miss: bool, noun: str, else_so: str) -> list[Path | None]:
    if not other:
        return [None] * len(paths)
    place = resolve(other)
    found = find_mates(paths, folder, place)
    missing = [path for path, mate in zip(paths, found, strict=True) if mate is None]
    if missing and not may_miss:
        raise JobError(
            f"{count(len(missing), 'picture has', 'pictures have')} no {noun} in {printable(place)}: {listed([name_of(path) for path in missing])}.",
            f"Put one there under the same name, or set allow_missing to {else_so}.",
        )
    return found
