"""What of a picture is learned: a mask of the same name in another folder, or the picture's own transparency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import JobError
from ..jobs import Dataset
from ..settings import resolve
from .clips import VIDEO_SUFFIXES
from .controls import find_mates
from .words import count, listed, name_of, printable


def find_masks(paths: Sequence[Path], folder: Path, dataset: Dataset) -> list[Path | None]:
    """The mask of each of ``paths``, which lie in ``folder``; the picture itself where its transparency is the mask.

    One that is missing is an error, unless the data set allows it: then it is None, and all of the picture is learned.
    """
    if dataset.alpha_mask and dataset.mask_path:
        raise JobError("A data set has both alpha_mask and mask_path.", "Leave one of them out.")
    if dataset.alpha_mask:
        return [None if path.suffix.lower() in VIDEO_SUFFIXES else path for path in paths]
    if not dataset.mask_path:
        return [None] * len(paths)
    masks = resolve(dataset.mask_path)
    found = find_mates(paths, folder, masks)
    missing = [path for path, mask in zip(paths, found, strict=True) if mask is None]
    if missing and not dataset.allow_missing:
        raise JobError(
            f"{count(len(missing), 'picture has', 'pictures have')} no mask in {printable(masks)}: {listed([name_of(path) for path in missing])}.",
            "Put one there under the same name, or set allow_missing to learn such pictures whole.",
        )
    return found
