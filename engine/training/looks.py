"""Pictures that a vision encoder looks at, for adapters that are prompted with them: which picture goes with which, and what is seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..control import Control
from ..data.buckets import Bucket, Placed
from ..data.cache import Load, PictureCache
from ..data.chance import number
from ..data.controls import find_mates
from ..data.gather import folder_of
from ..data.pictures import decode
from ..data.scan import Item
from ..data.words import count, listed, name_of
from ..errors import JobError
from ..events import Event, Warned
from ..jobs import Dataset
from ..network.guides.eyes import Eye, Sight
from ..settings import load_settings, resolve

BATCH = 8
SIZE: Bucket = (512, 512)
"""A vision encoder cuts pictures to a size of its own; this only says how many come at once."""


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


class Looks:
    """What the encoder says of pictures, by their paths; kept in the cache."""

    def __init__(self, name: str, sight: Sight):
        self.eye = Eye(name, sight)
        files = sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in self.eye.folder.iterdir() if file.is_file())
        self._cache = _LookCache(load_settings().folder("cache"), "looks", {"encoder": repr(files), "sight": sight})

    def fill(self, paths: Sequence[Path], device: torch.device, control: Control) -> Generator[Event, None, None]:
        """Looks at those that were not looked at yet. Raises Stopped when asked to stop."""
        items = [Item(path, 1, 1, "") for path in dict.fromkeys(paths)]
        loaded = False

        def look(batch: Sequence[Item], nothing: Tensor) -> dict[str, Tensor]:
            nonlocal loaded
            if not loaded:
                self.eye.open(device)
                loaded = True
            return {"look": self.eye.look([decode(item.path) for item in batch])}

        yield from self._cache.fill_with(look, items, [Placed(index, SIZE) for index in range(len(items))], BATCH, control)
        if loaded:
            self.eye.close()
        control.check()

    def __call__(self, path: Path) -> Tensor:
        """LD on the CPU. Not to be changed in place."""
        return self._cache.group(Item(path, 1, 1, ""), SIZE)["look"]


def _nothing(item: Item, bucket: Bucket) -> Tensor:
    """Its pixels are not taken from here: the encoder cuts pictures as it is used to."""
    return torch.zeros(1)


class _LookCache(PictureCache):
    load: Load = staticmethod(_nothing)
    what = "pictures"


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
        raise JobError(f"{listed(lonely)} has no other picture beside it to be looked at.", "Add pictures to the folder, or leave out clip_image_from_same_folder.")
    drawn = {}
    for path in paths:
        others = [other for other in folders[path.parent] if other != path]
        drawn[path] = others[number("look", path.name) % len(others)]
    return drawn
