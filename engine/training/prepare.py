"""From a job to a bench: pictures and captions encoded, the model loaded, the network attached.

Each large part is loaded, used and let go before the next one comes.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from dataclasses import replace

import torch

from ..control import Control
from ..data.batches import Batches
from ..data.buckets import Placed, place
from ..data.cache import LatentCache
from ..data.captions import TRIGGER
from ..data.scan import Item, scan
from ..errors import JobError
from ..events import Event, Phase, Warned
from ..families.base import ModelFamily
from ..jobs import Full, TrainJob
from ..network.attach import attach
from ..network.companions import Companions
from ..runs.folder import RunFolder
from ..runtime.compiling import compile_blocks
from ..runtime.device import Peak, pick_device, pick_dtype
from ..runtime.loading import fingerprint, load_parts, open_family
from ..runtime.texts import Texts, text_of
from ..sampling.draw import texts_of
from ..sampling.requests import requests_of
from ..settings import load_settings
from .bench import Bench, references
from .optimizers import has_8bit

PICTURE_BATCH = 8


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
    if family.own_frame:
        if any(not item.controls for item in items):
            yield Warned(
                message=f"{family.title} is shown the first frame, and of a still picture that is all there is: it learns little from them.",
                hint="Train the model that makes videos from text alone, or give other first frames in control_path.",
            )
        items = [replace(item, controls=item.controls or (item.path,)) for item in items]
    _check_references(family, items)
    _check_text(job, family)
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
        yield from load_parts(family, family.text_parts, device, held)
    else:
        texts = Texts(family, device, held, compute)
        wanted = {text_of(family, caption, item.controls) for item in items for caption in ("", item.caption)}
        drawn = {text for request in requests for text in texts_of(family, request)}
        yield from texts.remember(wanted | drawn, control)
    control.check()

    yield Phase(name="Encoding pictures", peak=peak.take())
    yield from load_parts(family, family.vae_parts, device, held)
    key = {"family": family.name, "encoder": fingerprint(family, family.vae_parts), "options": repr(held)}
    latents = LatentCache(load_settings().folder("cache"), key)
    pictures, places = with_references(items, placed)
    yield from latents.fill(pictures, places, family.encode_pixels, PICTURE_BATCH, control)
    for part in family.vae_parts:
        getattr(family.pipe, part).to("cpu")
    control.check()

    yield Phase(name="Loading the model", peak=peak.take())
    yield from load_parts(family, family.denoiser_parts(), device, held)
    if job.train.gradient_checkpointing:
        for denoiser in family.denoisers:
            denoiser.enable_gradient_checkpointing()
    trained = _trained_parts(job, family)
    network = attach(
        job.network, trained, {**dict.fromkeys(trained, family.lora_targets), **family.text_lora_targets},
        job.model.only_if_contains, job.model.ignore_if_contains, job.train.seed, family.name,
    )  # fmt: skip
    if network.idle:
        yield Warned(message=f"{' and '.join(network.idle)} {'has' if len(network.idle) == 1 else 'have'} no effect on this network and model.")
    for denoiser in family.denoisers:
        denoiser.to(device)  # what was attached beside offloaded weights
    companions = Companions(family, job.model)
    yield from companions.told()
    if job.model.compile:
        for denoiser in family.denoisers:
            yield from compile_blocks(denoiser, device)
    for denoiser in family.denoisers:
        denoiser.train()
    control.check()
    batches = Batches(placed, job.train.batch_size, job.train.seed)
    return Bench(job, family, network, device, compute, items, placed, batches, latents, texts, requests, companions)


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
    if min(counts) < family.min_controls:
        raise JobError(
            f"{family.title} learns from pairs, and the data has no reference pictures.",
            "Set control_path to the folder of what each picture was made from, under the same names.",
        )
    if len(counts) > 1:
        raise JobError(
            "Some data sets have reference pictures and others have none, or fewer.", "Give all of them as many in control_path."
        )


def _check_text(job: TrainJob, family: ModelFamily) -> None:
    if job.train.train_text_encoder and not isinstance(job.network, Full) and not family.text_lora_targets:
        raise JobError(
            f"The text encoders of {family.title} cannot be trained with a {job.network.type}.",
            "Set train.train_text_encoder to false, or network.type to full.",
        )


def _trained_parts(job: TrainJob, family: ModelFamily) -> dict[str, torch.nn.Module]:
    text: Collection[str] = family.text_parts if isinstance(job.network, Full) else family.text_lora_targets
    text = text if job.train.train_text_encoder else ()
    return {name: getattr(family.pipe, name) for name in (*(stage.part for stage in family.stages), *text)}


def _warnings(job: TrainJob, device: torch.device) -> Iterator[Event]:
    """Settings that have no effect here, and settings that contradict each other."""
    if job.train.optimizer == "adamw8bit" and not has_8bit(device):
        yield Warned(
            message="8-bit AdamW needs a graphics card; plain AdamW is used instead.",
            hint="Set train.optimizer to adamw to say so.",
        )
    quantize_te = job.model.quantize if job.model.quantize_te is None else job.model.quantize_te
    if isinstance(job.network, Full) and job.model.quantize:
        raise JobError(
            "Quantized weights cannot be trained.", "Set model.quantize to false, or train a LoRA: network.type lora."
        )
    if job.model.layer_offloading and isinstance(job.network, Full):
        raise JobError(
            "Offloaded weights cannot be trained.", "Set model.layer_offloading to false, or train a LoRA: network.type lora."
        )
    if job.train.train_text_encoder and isinstance(job.network, Full) and quantize_te:
        raise JobError(
            "Quantized text encoders cannot be trained.", "Set model.quantize_te or train.train_text_encoder to false."
        )
    if not isinstance(job.network, Full) and (job.model.only_if_contains or job.model.ignore_if_contains):
        yield Warned(
            message="model.only_if_contains and model.ignore_if_contains choose among all weights; a LoRA is chosen by network.only_if_contains."
        )
