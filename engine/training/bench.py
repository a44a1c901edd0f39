"""All that the training loop works with, and the batches that it is fed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..data.batches import Batches
from ..data.buckets import Bucket, Placed
from ..data.cache import LatentCache
from ..data.captions import dropped
from ..data.scan import Item
from ..families.base import Conditioning, ModelFamily, Request
from ..jobs import TrainJob
from ..network.attach import Network
from ..network.companions import Companions
from ..network.metadata import describe_network
from ..runtime.saving import save_pipeline
from ..runtime.texts import Text, Texts, encode, text_of
from .objectives import Batch


@dataclass
class Bench:
    """All that the loop works with."""

    job: TrainJob
    family: ModelFamily
    network: Network
    device: torch.device
    dtype: torch.dtype
    """Of the arithmetic."""
    items: list[Item]
    placed: list[Placed]
    batches: Batches
    latents: LatentCache
    texts: Texts | None
    """None where the text encoders learn too."""
    requests: list[Request]
    companions: Companions

    def batch(self, micro: int) -> Batch:
        """The pictures of one micro-batch, on the device. A function of its number alone."""
        chosen = [self.placed[index] for index in self.batches.at(micro)]
        items, buckets = [self.items[one.item] for one in chosen], [one.bucket for one in chosen]
        mean, std = self._latents(items, buckets)
        texts = [
            text_of(self.family, self._caption(item, micro, position), item.controls) for position, item in enumerate(items)
        ]
        controls = zip(*(references(item) for item in items), strict=True)
        shown = {f"control_{index}": self._latents(column, buckets)[0] for index, column in enumerate(controls)}
        stages = self.family.stages
        stage = stages[micro // self.job.train.switch_boundary_every % len(stages)]
        return Batch(mean, std, {**self.conditioning(texts), **shown}, (stage.low, stage.high))

    def _latents(self, items: Sequence[Item], buckets: Sequence[Bucket]) -> tuple[Tensor, Tensor]:
        """Mean and deviation as one batch on the device."""
        pairs = [self.latents.get(item, bucket) for item, bucket in zip(items, buckets, strict=True)]
        mean, std = (torch.stack(list(tensors)).to(self.device, non_blocking=True) for tensors in zip(*pairs, strict=True))
        return mean, std

    def _caption(self, item: Item, micro: int, position: int) -> str:
        rate = self.job.datasets[item.dataset].caption_dropout_rate
        return "" if dropped(self.job.train.seed, micro, position, rate) else item.caption

    def conditioning(self, texts: Sequence[Text]) -> Conditioning:
        """Text features on the device: remembered ones, or fresh ones where the text encoders learn too."""
        return self.texts.together(texts) if self.texts else encode(self.family, texts)

    @contextlib.contextmanager
    def at_hand(self, *parts: str) -> Iterator[None]:
        """The named parts are on the device inside, and on the CPU outside."""
        for part in parts:
            getattr(self.family.pipe, part).to(self.device)
        try:
            yield
        finally:
            for part in parts:
                getattr(self.family.pipe, part).to("cpu")

    def write_weights(self, path: Path, step: int) -> None:
        """The network as other tools read it: one file, one for each expert, or a folder in diffusers layout for all weights."""
        save = self.job.save
        if not self.network.is_adapter:
            save_pipeline(self.family, path, save.dtype)
        else:
            form = self.family.default_form if save.format == "auto" else save.format
            texts = describe_network(self.job, self.family, step)
            for stage in self.family.stages:
                own = (path.with_stem(f"{path.stem}_{stage.title}"), stage.part) if stage.title else (path, None)
                self.network.save(own[0], texts, save.dtype, form, own[1])


def references(item: Item) -> list[Item]:
    """The reference pictures of an item, as pictures of the same size."""
    return [replace(item, path=path, controls=()) for path in item.controls]
