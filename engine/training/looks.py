"""Pictures that a vision encoder looks at, for adapters that are prompted with them: which picture goes with which, and what is seen."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..control import Control
from ..data.caches.cache import Load, PictureCache
from ..data.files.pictures import decode
from ..data.scan import Item
from ..data.sizes.buckets import Bucket, Placed
from ..events import Event
from ..network.guides.eyes import Eye, Sight
from ..settings import load_settings

BATCH = 8
SIZE: Bucket = (512, 512)
"""A vision encoder cuts pictures to a size of its own; this only says how many come at once."""


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
