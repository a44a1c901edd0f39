"""Latents and text features that were once encoded, kept outside the data set and found again by content.

What was encoded follows from the bytes of the picture, its bucket, what is shown of it and how, and ``key``: all that
names the encoder and its options. So a trigger, repeats or dropout cost nothing, and a changed picture is encoded again, alone.
B batch, C latent channels, H and W pixels, h and w latents.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...control import Control
from ...errors import JobError
from ...events import Event, Progress, Warned
from ..files.notes import Notes
from ..files.pictures import digest
from ..scan import Item
from ..sizes.buckets import Bucket, Placed
from ..sizes.pixels import VERSION, load_mask, load_pixels, shown_as
from ..words import name_of
from .shards import Group, Shards

BATCH_AREA = 512 * 512
EVERY = 0.25
"""Seconds between two events of progress, at least."""

Work = tuple[str, Item, Bucket]
"""Name in the cache, and what it is made from."""
Load = Callable[[Item, Bucket], Tensor]
"""What is encoded of an item at the size of a bucket."""


class PictureCache:
    """What was made of pictures at the sizes of their buckets: for each a group of tensors."""

    load: Load
    what: str
    """How the pictures are called in progress."""

    def __init__(self, folder: Path, kind: str, key: Mapping[str, Any], memory: int | None = None):
        self._shards = Shards(_folder_of(folder, kind, {"pixels": VERSION, **key}), memory)
        self._notes = Notes(folder)
        self._digests: dict[Path, str] = {}
        self._names: dict[tuple[Path, str, Bucket], str] = {}

    @staticmethod
    def file_of(item: Item) -> Path:
        """The file that it is made from."""
        return item.path

    @staticmethod
    def told(item: Item) -> str:
        """All that it follows from besides that file and its bucket."""
        return shown_as(item)

    def fill_with(
        self,
        encode: Callable[[Sequence[Item], Tensor], Group],
        items: Sequence[Item],
        placements: Sequence[Placed],
        batch_size: int,
        control: Control,
    ) -> Iterator[Event]:
        """Makes what is missing: ``encode`` takes a batch and gives named tensors whose first dimension is the batch.

        ``batch_size`` is for pictures of up to 512 x 512 pixels; larger ones come in fewer, in about the same memory. Ends early, with what it has kept, when asked to stop.
        """
        yield from self._read_digests([items[placed.item] for placed in placements], control)
        if control.stop:
            return
        works = [self._work(items[placed.item], placed.bucket) for placed in placements]
        missing = set(self._shards.missing([name for name, _, _ in works]))
        yield from _told(self._shards)
        batches = _batches(works, missing, batch_size)
        progress = _Progress(len(missing), self.what)
        try:
            for batch, pixels in _loaded(batches, self.load):
                self._shards.add_batch([name for name, _, _ in batch], encode([item for _, item, _ in batch], pixels))
                yield from progress.add(len(batch))
                if control.stop:
                    return
        finally:
            self._shards.flush()

    def group(self, item: Item, bucket: Bucket) -> Group:
        """What was made of it, on the CPU. Not to be changed in place."""
        return self._shards[self._names[self.file_of(item), self.told(item), bucket]]

    def _read_digests(self, items: Sequence[Item], control: Control) -> Iterator[Event]:
        paths = list(dict.fromkeys(map(self.file_of, items)))
        progress = _Progress(len(paths), "files")
        for path, known in self._notes.about("digest", paths, digest):
            self._digests[path] = known
            yield from progress.add(1, last=False)
            if control.stop:
                return

    def _work(self, item: Item, bucket: Bucket) -> Work:
        path, shown = self.file_of(item), self.told(item)
        content = f"{self._digests[path]} {bucket[0]}x{bucket[1]}{shown}"
        name = self._names[path, shown, bucket] = _digest_of(content)
        return name, item, bucket


class LatentCache(PictureCache):
    """Mean and standard deviation of the latents of pictures, in ``folder``; ``memory`` is the most bytes to hold."""

    load = staticmethod(load_pixels)
    what = "pictures"

    def __init__(self, folder: Path, key: Mapping[str, Any], memory: int | None = None):
        super().__init__(folder, "latents", key, memory)

    def fill(
        self,
        items: Sequence[Item],
        placements: Sequence[Placed],
        encode: Callable[[Tensor], tuple[Tensor, Tensor]],
        batch_size: int,
        control: Control,
        encode_reference: Callable[[Tensor, int], Tensor] | None = None,
    ) -> Iterator[Event]:
        """Encodes what is missing: ``encode`` takes pixels BCHW in [-1, 1], of videos BCFHW, and gives mean and deviation BChw or BCfhw.

        ``encode_reference`` takes pictures and how many frames of a video they are shown for, and gives latents.
        """

        def latents(batch: Sequence[Item], pixels: Tensor) -> Group:
            if encode_reference and (frames := batch[0].shown_for) > 1:
                mean = encode_reference(pixels, frames)
                std = torch.zeros_like(mean)
            else:
                mean, std = encode(pixels)
            _check_finite(batch, mean, std)
            return {"mean": mean, "std": std}

        yield from self.fill_with(latents, items, placements, batch_size, control)

    def get(self, item: Item, bucket: Bucket) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, Chw on the CPU. Not to be changed in place."""
        group = self.group(item, bucket)
        return group["mean"], group["std"]


class MaskCache(PictureCache):
    """Masks at the sizes of their buckets. An item that has none is learned whole."""

    load = staticmethod(load_mask)
    what = "masks"

    def __init__(self, folder: Path, memory: int | None = None):
        super().__init__(folder, "masks", {}, memory)

    @staticmethod
    def file_of(item: Item) -> Path:
        return item.mask or item.path

    @staticmethod
    def told(item: Item) -> str:
        return shown_as(item) + (" by its transparency" if item.mask == item.path else "")

    def fill(self, items: Sequence[Item], placements: Sequence[Placed], control: Control) -> Iterator[Event]:
        """Reads what is missing."""
        masked = [placed for placed in placements if items[placed.item].mask]
        yield from self.fill_with(lambda batch, masks: {"mask": masks}, items, masked, 1, control)

    def get(self, item: Item, bucket: Bucket) -> Tensor:
        """uint8 1HW at the size of the bucket, 255 where all is learned."""
        return self.group(item, bucket)["mask"] if item.mask else load_mask(item, bucket)


class TextCache:
    """Text features of captions, in ``folder``; ``memory`` is the most bytes to hold."""

    def __init__(self, folder: Path, key: Mapping[str, Any], memory: int | None = None):
        self._shards = Shards(_folder_of(folder, "texts", key), memory)

    def missing(self, captions: Sequence[str]) -> list[str]:
        """Those of ``captions`` that were not encoded yet, once each: the encoder is needed only for them."""
        names = {_digest_of(caption): caption for caption in captions}
        return [names[name] for name in self._shards.missing(names)]

    def fill(self, captions: Sequence[str], encode: Callable[[list[str]], Group], batch_size: int, control: Control) -> Iterator[Event]:
        """Encodes what is missing: ``encode`` gives named features whose first dimension is the batch.

        Ends early, with what it has kept, when asked to stop.
        """
        missing = self.missing(captions)
        yield from _told(self._shards)
        progress = _Progress(len(missing), "captions")
        try:
            for start in range(0, len(missing), batch_size):
                batch = missing[start : start + batch_size]
                self._shards.add_batch([_digest_of(caption) for caption in batch], encode(batch))
                yield from progress.add(len(batch))
                if control.stop:
                    return
        finally:
            self._shards.flush()

    def get(self, caption: str) -> Group:
        """The caption's features on the CPU, without a batch dimension. Not to be changed in place."""
        return self._shards[_digest_of(caption)]


class _Progress:
    """Counts, and tells of it now and then, and at the end."""

    def __init__(self, total: int, what: str):
        self._done, self._total, self._what, self._told = 0, total, what, time.monotonic()

    def add(self, number: int, last: bool = True) -> Iterator[Progress]:
        self._done += number
        now = time.monotonic()
        if now - self._told >= EVERY or (last and self._done == self._total):
            self._told = now
            yield Progress(done=self._done, total=self._total, what=self._what)


def _batches(works: Sequence[Work], missing: set[str], batch_size: int) -> Iterator[list[Work]]:
    """What is missing, in batches of one bucket and one length.

    They are cut from all that is wanted, there or not: so a run that was killed meanwhile goes on with the batches that
    it would have had, and gets the same bits.
    """
    alike: dict[tuple[Bucket, int, int], dict[str, Work]] = {}
    for work in works:
        alike.setdefault((work[2], work[1].frames, work[1].shown_for), {})[work[0]] = work
    for ((width, height), frames, _), bucket in alike.items():
        members = list(bucket.values())
        count = max(1, min(batch_size, batch_size * BATCH_AREA // (width * height * frames)))
        for start in range(0, len(members), count):
            if batch := [work for work in members[start : start + count] if work[0] in missing]:
                yield batch


def _loaded(batches: Iterator[list[Work]], load: Load) -> Iterator[tuple[list[Work], Tensor]]:
    """Each batch with its pixels BCHW, decoded by several threads while the ones before it are encoded."""
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[list[Work], list[Future[Tensor]]]] = deque()
        try:
            for batch in batches:
                waiting.append((batch, [pool.submit(load, item, bucket) for _, item, bucket in batch]))
                if len(waiting) > math.ceil(workers / len(batch)):
                    ready, futures = waiting.popleft()
                    yield ready, torch.stack([future.result() for future in futures])
            while waiting:
                ready, futures = waiting.popleft()
                yield ready, torch.stack([future.result() for future in futures])
        finally:
            pool.shutdown(cancel_futures=True)


def _check_finite(batch: Sequence[Item], mean: Tensor, std: Tensor) -> None:
    """Raises JobError for latents that are no numbers."""
    for item, one_mean, one_std in zip(batch, mean, std, strict=True):
        if not (one_mean.isfinite().all() and one_std.isfinite().all()):
            raise JobError(
                f"The autoencoder turned {name_of(item.path)} into values that are no numbers.",
                "Its weights do not fit this precision: set model.dtype to bf16 or fp32.",
            )


def _told(shards: Shards) -> Iterator[Event]:
    if shards.damaged:
        yield Warned(
            message="A part of the cache was damaged and was deleted.",
            hint="It is encoded again; nothing else is lost.",
        )
        shards.damaged = 0


def _folder_of(folder: Path, kind: str, key: Mapping[str, Any]) -> Path:
    return folder / kind / _digest_of(json.dumps(dict(key), sort_keys=True))[:16]


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
