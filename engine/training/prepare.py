"""From a job to a bench: pictures and captions encoded, the model loaded, the network attached.

Each large part is loaded, used and let go before the next one comes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..control import Control
from ..data.batches import Batches
from ..data.buckets import Bucket, Placed, place
from ..data.cache import LatentCache
from ..data.captions import TRIGGER, dropped
from ..data.scan import Item, scan
from ..errors import JobError
from ..events import Event, Phase, Warned
from ..families.base import Conditioning, ModelFamily, Request
from ..jobs import Full, TrainJob
from ..network.attach import Network, attach
from ..network.metadata import describe_network
from ..runs.folder import RunFolder
from ..runtime.device import Peak, pick_device, pick_dtype
from ..runtime.loading import fingerprint, load_parts, open_family
from ..runtime.saving import save_pipeline
from ..runtime.texts import Text, Texts, encode, text_of
from ..sampling.draw import texts_of
from ..sampling.requests import requests_of
from ..settings import load_settings
from .objectives import Batch
from .optimizers import has_8bit

PICTURE_BATCH = 8


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
        return Batch(mean, std, {**self.conditioning(texts), **shown})

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
        load_parts(self.family, parts, self.device, self.dtype)
        try:
            yield
        finally:
            for part in parts:
                getattr(self.family.pipe, part).to("cpu")

    def write_weights(self, path: Path, step: int) -> None:
        """The network as other tools read it: one file, or a folder in diffusers layout for all weights."""
        save = self.job.save
        if not self.network.is_adapter:
            save_pipeline(self.family, path, save.dtype)
        else:
            form = self.family.default_form if save.format == "auto" else save.format
            self.network.save(path, describe_network(self.job, self.family, step), save.dtype, form)


def prepare(job: TrainJob, folder: RunFolder, control: Control) -> Generator[Event, None, Bench]:
    """Yields what happens; returns the bench. Raises Stopped when asked to stop."""
    device = pick_device()
    full = isinstance(job.network, Full)
    compute = pick_dtype(job.train.dtype, device)
    held = (
        torch.float32 if full else pick_dtype(job.model.dtype, device)
    )  # weights that learn are kept in fp32
    peak = Peak(device)
    yield from _warnings(job, device)

    yield Phase(name="Reading pictures")
    items = [
        item
        for index, dataset in enumerate(job.datasets)
        for item in scan(dataset, trigger=dataset.trigger_word or job.trigger_word, index=index)
    ]
    if any(TRIGGER in item.caption for item in items):
        yield Warned(
            message=f"Captions say {TRIGGER}, and there are no trigger words.",
            hint="Set trigger_word, or they are learned as that.",
        )
    control.check()
    yield Phase(name="Opening the base model")
    family = open_family(job.model, held)
    _check_references(family, items)
    placed = place(job.datasets, items, family.defaults.resolution, family.pixel_multiple)
    requests = (
        requests_of(job.sample, family.defaults, job.trigger_word, family.pixel_multiple)
        if job.sample.sample_every
        else []
    )
    control.check()

    yield Phase(name="Encoding captions", peak=peak.take())
    texts = None
    if job.train.train_text_encoder:
        load_parts(family, family.text_parts, device, held)
    else:
        texts = Texts(family, device, held, compute)
        wanted = {text_of(family, caption, item.controls) for item in items for caption in ("", item.caption)}
        drawn = {text for request in requests for text in texts_of(family, request)}
        yield from texts.remember(wanted | drawn, control)
    control.check()

    yield Phase(name="Encoding pictures", peak=peak.take())
    load_parts(family, family.vae_parts, device, held)
    key = {"family": family.name, "encoder": fingerprint(family, family.vae_parts), "options": repr(held)}
    latents = LatentCache(load_settings().folder("cache"), key)
    pictures, places = with_references(items, placed)
    yield from latents.fill(pictures, places, family.encode_pixels, PICTURE_BATCH, control)
    for part in family.vae_parts:
        getattr(family.pipe, part).to("cpu")
    control.check()

    yield Phase(name="Loading the model", peak=peak.take())
    load_parts(family, (family.denoiser_part,), device, held)
    if job.train.gradient_checkpointing:
        family.denoiser.enable_gradient_checkpointing()
    network = attach(
        job.network, _trained_parts(job, family), family.lora_targets,
        job.model.only_if_contains, job.model.ignore_if_contains, job.train.seed, family.name,
    )  # fmt: skip
    family.denoiser.train()
    control.check()
    batches = Batches(placed, job.train.batch_size, job.train.seed)
    return Bench(job, family, network, device, compute, items, placed, batches, latents, texts, requests)


def references(item: Item) -> list[Item]:
    """The reference pictures of an item, as pictures of the same size."""
    return [replace(item, path=path, controls=()) for path in item.controls]


def with_references(items: list[Item], placed: list[Placed]) -> tuple[list[Item], list[Placed]]:
    """All that is encoded: items, and after them the reference pictures of each, at the size of their item."""
    pictures, places = list(items), list(placed)
    for one in placed:
        for mate in references(items[one.item]):
            places.append(replace(one, item=len(pictures)))
            pictures.append(mate)
    return pictures, places


def _check_references(family: ModelFamily, items: list[Item]) -> None:
    counts = {len(item.controls) for item in items}
    if max(counts) > family.max_controls:
        what = f"takes {family.max_controls}" if family.max_controls else "takes no"
        raise JobError(
            f"The data has {max(counts)} reference pictures for each picture; {family.title} {what}.",
            "Leave out control_path, or choose an edit model as the base.",
        )
    if len(counts) > 1:
        raise JobError(
            "Some data sets have reference pictures and others have none, or fewer.", "Give all of them as many in control_path."
        )


def _trained_parts(job: TrainJob, family: ModelFamily) -> dict[str, torch.nn.Module]:
    text = family.text_parts if job.train.train_text_encoder else ()
    return {name: getattr(family.pipe, name) for name in (family.denoiser_part, *text)}


def _warnings(job: TrainJob, device: torch.device) -> Iterator[Event]:
    """Settings that have no effect here, and settings that contradict each other."""
    if job.train.optimizer == "adamw8bit" and not has_8bit(device):
        yield Warned(
            message="8-bit AdamW needs a graphics card; plain AdamW is used instead.",
            hint="Set train.optimizer to adamw to say so.",
        )
    if not isinstance(job.network, Full):
        if job.train.train_text_encoder:
            raise JobError(
                "Text encoders can be trained only with all weights.",
                "Set network.type to full, or train.train_text_encoder to false.",
            )
        if job.model.only_if_contains or job.model.ignore_if_contains:
            yield Warned(
                message="model.only_if_contains and model.ignore_if_contains choose among all weights; a LoRA is chosen by network.only_if_contains."
            )
