"""The pictures and captions of a micro-batch, read from the caches or, where pictures are changed each time, from their files.

Everything that is drawn follows from (seed, micro-batch, position): nothing has to be saved to go on with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from ..data.batches import Batches
from ..data.caches.cache import LatentCache, MaskCache
from ..data.captions.options import Wording, text_at
from ..data.chance import number
from ..data.scan import Item
from ..data.sizes.buckets import Bucket, Placed
from ..data.sizes.crops import Draw, draw_crop
from ..data.sizes.pixels import load_mask, load_pixels
from ..families.base import Conditioning, ModelFamily
from ..jobs import Dataset, TrainJob
from ..network.base import Takes
from ..runtime.texts import Text, Texts, text_of
from .heldout import InOrder
from .prompts import other_prompts, read_with


@dataclass(frozen=True)
class Column:
    """The pictures of a micro-batch, or the first reference picture of each, and so on."""

    kept: tuple[Tensor, Tensor] | None
    """Mean and deviation of the latents that are kept, as a batch."""
    pixels: Tensor | None
    """Those that are encoded in the step, as a batch."""
    order: Tensor | None
    """Where each picture is among those of both, in this order; None where there is but one kind."""


@dataclass(frozen=True)
class Loaded:
    """A micro-batch in the computer's memory."""

    items: list[Item]
    columns: list[Column]
    """The pictures, and after them the first reference picture of each, the second, and so on."""
    mask: Tensor | None
    """B 1 H W in [0, 1] at the size of the pictures; None where everything is learned."""
    texts: dict[str, list[Text]]
    """The captions under the empty name, and other prompts by what they are for."""
    features: dict[str, Conditioning] | None
    """Remembered features of the texts, on the device; None where the text encoders learn too."""
    weights: Tensor | None
    """How much each picture counts [B]; None for all alike."""
    identities: list[int]
    """A number for each picture at its size, the same each time it comes."""
    shown: list[Tensor] = field(default_factory=list)
    """Control pictures in pixels, B 3 H W in [-1, 1]: the first of each picture, the second, and so on."""
    anew: Tensor | None = None
    """1 where a picture is drawn anew, B 1 H W at the size of the pictures; None where no data set says that."""


@dataclass
class Loader:
    """Reads micro-batches. Safe to use from a thread of its own."""

    job: TrainJob
    family: ModelFamily
    items: list[Item]
    placed: list[Placed]
    batches: Batches | InOrder
    latents: LatentCache
    masks: MaskCache
    texts: Texts | None
    wordings: list[Wording]
    """What happens to the captions of each data set."""
    pin: bool = False
    """Put batches where a graphics card fetches them from by itself, so that nobody waits."""
    takes: Takes | None = None
    """How an adapter is shown control pictures; None where the model itself is shown them."""
    look: Callable[[Path], Tensor] | None = None
    """What a vision encoder said of a picture, LD; where an adapter takes that."""

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="pictures")

    def load(self, micro: int) -> Loaded:
        """The micro-batch of that number: a function of it alone."""
        chosen = [self.placed[index] for index in self.batches.at(micro)]
        items, buckets = [self.items[one.item] for one in chosen], [one.bucket for one in chosen]
        draws = [self._draw(item, bucket, micro, position) for position, (item, bucket) in enumerate(zip(items, buckets, strict=True))]
        mates = list(zip(*(references(item) for item in items), strict=True))
        seen = mates if self.takes in (None, "latents") else []
        texts = self._texts(items, micro)
        return Loaded(
            items,
            [
                self._pictures(items, buckets, draws, micro),
                *(self._mates(chosen, index, column, draws, micro) for index, column in enumerate(seen)),
            ],
            self._mask(items, buckets, draws),
            texts,
            {kind: self.texts.together(some) for kind, some in texts.items()} if self.texts else None,
            self._weights(items),
            [number("noise", str(item.path), item.flip, item.flip_y, *bucket) for item, bucket in zip(items, buckets, strict=True)],
            self._shown(mates, buckets, draws, micro),
            self._anew(items, buckets, draws),
        )

    def _texts(self, items: Sequence[Item], micro: int) -> dict[str, list[Text]]:
        """What is read with the pictures, by what it is for; their captions under the empty name."""
        texts: dict[str, list[Text]] = {}
        for position, item in enumerate(items):
            caption = text_at(item.caption, self.wordings[item.dataset], self.job.train.seed, micro, position)
            others = other_prompts(self.job, self.job.datasets[item.dataset], caption)
            for kind, prompt in {"": caption, **others}.items():
                texts.setdefault(kind, []).append(text_of(self.family, prompt, read_with(self.job, item), item.shown_cut))
        return texts

    def data_set(self, micro: int) -> Dataset:
        """That of the first picture of a micro-batch; the others have the same settings where those concern the whole batch."""
        return self.job.datasets[self.items[self.placed[self.batches.at(micro)[0]].item].dataset]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _draw(self, item: Item, bucket: Bucket, micro: int, position: int) -> Draw | None:
        data = self.job.datasets[item.dataset]
        where = ("crop", self.job.train.seed, micro, position)
        return draw_crop(item.width, item.height, bucket, item.focus, data.random_crop, data.random_scale, *where)

    def _pictures(self, items: Sequence[Item], buckets: Sequence[Bucket], draws: Sequence[Draw | None], micro: int) -> Column:
        """A picture and its references are moved and changed alike."""
        coming: dict[int, Future[Tensor]] = {}
        kept: dict[int, tuple[Tensor, Tensor]] = {}
        for position, (item, bucket, draw) in enumerate(zip(items, buckets, draws, strict=True)):
            if changes(data := self.job.datasets[item.dataset]):
                drawn_for = (self.job.train.seed, micro, position)
                coming[position] = self._pool.submit(load_pixels, item, bucket, draw, data.augmentations, drawn_for)
            else:
                kept[position] = self.latents.get(item, bucket)
        pixels = self._pinned(torch.stack([one.result() for one in coming.values()])) if coming else None
        mean, std = (torch.stack(list(tensors)) for tensors in zip(*kept.values(), strict=True)) if kept else (None, None)
        both = None if mean is None or std is None else (self._pinned(mean), self._pinned(std))
        order = self._pinned(torch.tensor([*kept, *coming]).argsort()) if kept and coming else None
        return Column(both, pixels, order)

    def _mates(self, chosen: Sequence[Placed], index: int, mates: Sequence[Item], draws: Sequence[Draw | None], micro: int) -> Column:
        """The reference pictures of that number, at the size of their pictures or at their own; those are not moved with them."""
        if not chosen[0].shown:
            return self._pictures(mates, [one.bucket for one in chosen], draws, micro)
        return self._pictures(mates, [one.shown[index] for one in chosen], [None] * len(mates), micro)

    def _shown(self, mates: Sequence[Sequence[Item]], buckets: Sequence[Bucket], draws: Sequence[Draw | None], micro: int) -> list[Tensor]:
        """Control pictures that are no latents."""
        if self.takes == "pixels":
            return [self._pixels(column, buckets, draws, micro) for column in mates]
        return [self._pinned(torch.stack([self.look(item.path) for item in column])) for column in mates] if self.look else []

    def _pixels(self, items: Sequence[Item], buckets: Sequence[Bucket], draws: Sequence[Draw | None], micro: int) -> Tensor:
        """Control pictures, moved and changed as the pictures are."""
        seed, changed = self.job.train.seed, [self.job.datasets[item.dataset].augmentations for item in items]
        places = enumerate(zip(items, buckets, draws, changed, strict=True))
        coming = [
            self._pool.submit(load_pixels, item, bucket, draw, steps, (seed, micro, position))
            for position, (item, bucket, draw, steps) in places
        ]
        return self._pinned(torch.stack([one.result() for one in coming]))

    def _weights(self, items: Sequence[Item]) -> Tensor | None:
        data = [self.job.datasets[item.dataset] for item in items]
        weights = [one.loss_multiplier * (self.job.train.reg_weight if one.is_reg else 1.0) for one in data]
        return None if all(weight == 1 for weight in weights) else self._pinned(torch.tensor(weights))

    def _pinned(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory() if self.pin else tensor

    def _mask(self, items: Sequence[Item], buckets: Sequence[Bucket], draws: Sequence[Draw | None]) -> Tensor | None:
        if all(item.mask is None for item in items):
            return None
        return self._pinned(torch.stack([self._mask_of(*one) for one in zip(items, buckets, draws, strict=True)]))

    def _mask_of(self, item: Item, bucket: Bucket, draw: Draw | None) -> Tensor:
        if item.mask is None:
            return torch.ones(1, bucket[1], bucket[0])
        data = self.job.datasets[item.dataset]
        mask = self._read_mask(item, bucket, draw)
        mask = 1 - mask if data.invert_mask else mask
        return data.mask_min_value + (1 - data.mask_min_value) * mask

    def _anew(self, items: Sequence[Item], buckets: Sequence[Bucket], draws: Sequence[Draw | None]) -> Tensor | None:
        if all(item.erased is None for item in items):
            return None
        kept = [
            self._read_mask(erased_copy(item), bucket, draw) if item.erased else torch.zeros(1, bucket[1], bucket[0])
            for item, bucket, draw in zip(items, buckets, draws, strict=True)
        ]
        return self._pinned(1 - torch.stack(kept))

    def _read_mask(self, item: Item, bucket: Bucket, draw: Draw | None) -> Tensor:
        still = not changes(self.job.datasets[item.dataset])
        return (self.masks.get(item, bucket) if still else load_mask(item, bucket, draw)).float() / 255


def changes(dataset: Dataset) -> bool:
    """Whether its pictures are another each time, so that their latents cannot be kept."""
    return bool(dataset.random_crop or dataset.random_scale or dataset.augmentations)


def erased_copy(item: Item) -> Item:
    """The picture of ``erased``, its transparency as its mask."""
    copy = item.erased or item.path
    return replace(item, path=copy, mask=copy, erased=None, controls=())


def references(item: Item) -> list[Item]:
    """The reference pictures of an item, as pictures of the same size. Where it is its own, that is its first frame."""
    first = replace(item, controls=(), mask=None, erased=None, shown_for=item.frames)
    return [first if path == item.path else replace(first, path=path, clip=None, cut=None) for path in item.controls]
