"""Which picture is looked at with each picture, for adapters that are prompted with pictures. No torch here: what is seen is in ``looks``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from ..data.chance import number
from ..data.gather import folder_of
from ..data.mates.controls import find_mates
from ..data.scan import Item
from ..data.words import count, listed, name_of
from ..errors import JobError
from ..events import Event, Warned
from ..jobs import Dataset
from ..settings import resolve


def with_looks(datasets: Sequence[Dataset], items: Sequence[Item]) -> list[Item]:
    """The items, each with the picture that is looked at as its one reference: its mate in ``clip_image_path``, another of its folder, or itself."""
    shown: dict[int, dict[Path, Path]] = {}
    for index, dataset in enumerate(datasets):
        paths = list(dict.fromkeys(item.path for item in items if item.dataset == index))
        if dataset.clip_image_path:
            shown[index] = _mates(paths, dataset)
        elif dataset.clip_image_from_same_folder:
            shown[index] = _neighbours(paths)
    return [replace(item, controls=(shown.get(item.dataset, {}).get(item.path, item.path),)) for item in items]


def looks_notes(datasets: Sequence[Dataset], looked: bool) -> Generator[Event, None, None]:
    """Settings about pictures that are looked at, where nothing looks."""
    for index, dataset in enumerate(datasets):
        if not looked and (idle := dataset.differs("clip_image_path", "clip_image_from_same_folder")):
            yield Warned(message=f"datasets[{index}].{idle[0]} has no effect: no adapter of the type ip or redux is trained.")


def _mates(paths: Sequence[Path], dataset: Dataset) -> dict[Path, Path]:
    found = find_mates(paths, folder_of(dataset), resolve(str(dataset.clip_image_path)))
    if missing := [name_of(path) for path, mate in zip(paths, found, strict=True) if mate is None]:
        raise JobError(
            f"{count(len(missing), 'picture has', 'pictures have')} no picture in clip_image_path: {listed(missing)}.",
            "Put one there under the same name, or take the picture out.",
        )
    return {path: mate for path, mate in zip(paths, found, strict=True) if mate}


def _neighbours(paths: Sequence[Path]) -> dict[Path, Path]:
    """Another picture of each one's own folder, by chance, and the same one each time."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        folders[path.parent].append(path)
    if lonely := [name_of(path) for path in paths if len(folders[path.parent]) < 2]:
        raise JobError(
            f"{listed(lonely)} has no other picture beside it to be looked at.",
            "Add pictures to the folder, or leave out clip_image_from_same_folder.",
        )
    drawn = {}
    for path in paths:
        others = [other for other in folders[path.parent] if other != path]
        drawn[path] = others[number("look", path.name) % len(others)]
    return drawn
