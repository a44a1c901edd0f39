"""From a job to a bench: pictures and captions encoded, the model loaded, the network attached.

Each large part is loaded, used and let go before the next one comes.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from dataclasses import replace

import torch

from ..control import Control
from ..data.augment import MOVING, check_augmentations
from ..data.batches import Batches
from ..data.buckets import Placed, place, pools_of, sizing_notes
from ..data.cache import LatentCache, MaskCache
from ..data.caption_options import Wording, variants, wording_of
from ..data.captions import TRIGGER
from ..data.cuts import cut_items
from ..data.gather import gather
from ..data.room import keep_within
from ..data.scan import Item, scan
from ..data.sound import whole_items
from ..data.words import count
from ..errors import JobError
from ..events import Event, Noted, Phase, Warned
from ..families.base import ModelFamily
from ..jobs import Dataset, Full, TrainJob
from ..network.attach import attach
from ..network.companions import Companions
from ..runs.folder import RunFolder
from ..runtime.compiling import compile_blocks
from ..runtime.device import DTYPES, Peak, pick_device, pick_dtype
from ..runtime.loading import fingerprint, load_parts, open_family
from ..runtime.texts import Texts, text_of
from ..sampling.draw import texts_of
from ..sampling.requests import requests_of
from ..settings import load_settings
from .bench import Bench
from .heldout import InOrder, as_they_are, hold_back, once, with_folder
from .loader import Loader, changes, references
from .made_controls import controls_notes, fill_controls, plan_controls
from .optimizers import optimizer_notes
from .prompts import check_prompts, other_prompts

PICTURE_BATCH = 8


def prepare(job: TrainJob, folder: RunFolder, control: Control) -> Generator[Event, None, Bench]:
    """Yields what happens; returns the bench. Raises Stopped when asked to stop."""
    device = pick_device()
    full = isinstance(job.network, Full)
    compute = pick_dtype(job.train.dtype, device)
    held = (
        DTYPES[job.train.weights_dtype] if full else pick_dtype(job.model.dtype, device)
    )  # weights that learn are kept in fp32, unless their steps are rounded at random
    peak = Peak(device)
    yield from _warnings(job, device)

    seen = with_folder(job)
    for dataset in seen.datasets:
        yield from gather(dataset, control)
    yield Phase(name="Reading pictures")
    told: list[Warned] = []
    items = [
        item
        for index, dataset in enumerate(seen.datasets)
        for item in scan(_captioned(job, dataset), trigger=job.trigger_of(dataset), index=index, notes=told)
    ]
    yield from told
    items = yield from whole_items(items, control)
    wordings = [wording_of(dataset) for dataset in seen.datasets]
    if any(TRIGGER in item.caption for item in items):
        yield Warned(
            message=f"Captions say {TRIGGER}, and there are no trigger words.",
            hint="Set trigger_word, or they are learned as that.",
        )
    yield from check_prompts(seen, items)
    control.check()
    yield Phase(name="Opening the base model")
    family = open_family(job.model, held)
    items, notes = cut_items(seen.datasets, items, family.title, family.is_video, family.frame_multiple, family.defaults.fps)
    yield from notes
    items, places = plan_controls(seen.datasets, items)
    items = yield from _with_first_frames(seen, family, items)
    _check_references(family, items)
    _check_text(job, family)
    _check_objective(job, family)
    made_controls = yield from fill_controls(places, control)
    items, aside = hold_back(job, items)
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
        captions = ((item, text) for item in [*items, *aside] for text in ("", *variants(item.caption, wordings[item.dataset], job.train.seed)))
        wanted = {
            text_of(family, prompt, item.controls, item.shown_cut)
            for item, text in captions
            for prompt in (text, *other_prompts(job, seen.datasets[item.dataset], text).values())
        }
        drawn = {text for request in requests for text in texts_of(family, request)}
        yield from texts.remember(wanted | drawn, control)
    control.check()

    yield Phase(name="Encoding pictures", peak=peak.take())
    yield from load_parts(family, family.vae_parts, device, held)
    key = {"family": family.name, "encoder": fingerprint(family, family.vae_parts), "options": repr(held)}
    latents = LatentCache(load_settings().folder("cache"), key)
    masks = MaskCache(load_settings().folder("cache"))
    still = [one for one in placed if not changes(job.datasets[items[one.item].dataset])]
    yield from latents.fill(*with_references(items, still), family.encode_pixels, PICTURE_BATCH, control, family.encode_reference)
    yield from masks.fill(items, still, control)
    shown = as_they_are(seen)
    aside_placed = once(place(shown.datasets, aside, family.defaults.resolution, family.pixel_multiple))
    yield from latents.fill(*with_references(aside, aside_placed), family.encode_pixels, PICTURE_BATCH, control, family.encode_reference)
    yield from masks.fill(aside, aside_placed, control)
    stay = family.vae_parts if len(still) < len(placed) else ()
    for part in family.vae_parts:
        if part not in stay:
            getattr(family.pipe, part).to("cpu")
    control.check()

    yield from keep_within()
    yield Phase(name="Loading the model", peak=peak.take())
    yield from load_parts(family, family.denoiser_parts(), device, held)
    if job.train.gradient_checkpointing:
        for denoiser in family.denoisers:
            denoiser.enable_gradient_checkpointing()
    trained = _trained_parts(job, family)
    network = attach(
        job.network, trained, {**dict.fromkeys(trained, family.lora_targets), **family.text_lora_targets},
        job.model.only_if_contains, job.model.ignore_if_contains, job.train.seed, family.name,
        DTYPES[job.train.weights_dtype],
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
    batches = Batches(placed, job.train.batch_size, job.train.seed, pools_of(job.datasets)[1])
    if batches.filled:
        yield Noted(message=f"{count(batches.filled, 'picture comes', 'pictures come')} once more in each round, so that all batches are full.")
    loader = Loader(job, family, items, placed, batches, latents, masks, texts, wordings)
    bench = Bench(job, family, network, device, compute, loader, texts, requests, companions, stay, made_controls)
    if aside:
        in_order = InOrder(aside_placed, job.train.batch_size)
        plain = Loader(shown, family, aside, aside_placed, in_order, latents, masks, texts, [Wording()] * len(seen.datasets))
        bench.held = replace(bench, job=shown, loader=plain)
        yield Noted(message=f"{count(len(aside), 'picture is', 'pictures are')} held back for validation; {len({item.path for item in items})} are trained on.")
    return bench


def _with_first_frames(job: TrainJob, family: ModelFamily, items: list[Item]) -> Generator[Event, None, list[Item]]:
    """The items, those that the model is shown the first frame of with it as their reference."""
    shown = {index for index, dataset in enumerate(job.datasets) if family.own_frame or (dataset.do_i2v and family.is_video and family.max_controls)}
    if idle := [f"datasets[{index}]" for index, dataset in enumerate(job.datasets) if dataset.do_i2v and index not in shown]:
        yield Warned(message=f"do_i2v of {' and '.join(idle)} has no effect: {family.title} is shown no first frame.")
    if family.own_frame and any(not item.controls and item.frames == 1 for item in items):
        yield Warned(
            message=f"{family.title} is shown the first frame, and of a still picture that is all there is: it learns little from them.",
            hint="Train the model that makes videos from text alone, or give other first frames in control_path.",
        )
    return [replace(item, controls=item.controls or (item.path,)) if item.dataset in shown else item for item in items]


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
            "Leave out control_path and controls, or choose an edit model as the base.",
        )
    if min(counts) < family.min_controls:
        raise JobError(
            f"{family.title} learns from pairs, and the data has no reference pictures.",
            "Set control_path to the folder of what each picture was made from, under the same names.",
        )


def _captioned(job: TrainJob, dataset: Dataset) -> Dataset:
    """A slider reads no captions, so none has to be there."""
    return dataset.model_copy(update={"default_caption": dataset.default_caption or ""}) if job.slider else dataset


def _check_objective(job: TrainJob, family: ModelFamily) -> None:
    if family.objective == "flow" and (job.train.min_snr_gamma or job.train.snr_gamma):
        raise JobError(
            f"train.min_snr_gamma and train.snr_gamma are for models that learnt to denoise; {family.title} learnt a flow.",
            "Leave them out; content_or_style and timestep_type change which noise levels count.",
        )
    if family.objective != "flow" and job.train.timestep_type == "next_sample":
        raise JobError(f"train.timestep_type next_sample is for models that learnt a flow; {family.title} learnt to denoise.", "Choose another.")
    if job.train.min_denoising_steps >= job.train.max_denoising_steps:
        raise JobError("train.min_denoising_steps is not below train.max_denoising_steps.", "No noise level would be left.")


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
    yield from sizing_notes(job.datasets)
    yield from controls_notes(job.datasets)
    yield from optimizer_notes(job, device)
    quantize_te = job.model.quantize if job.model.quantize_te is None else job.model.quantize_te
    for index, dataset in enumerate(job.datasets):
        check_augmentations(dataset.augmentations)
        if (dataset.mask_path or dataset.alpha_mask) and (moved := [one.method for one in dataset.augmentations if one.method in MOVING]):
            raise JobError(
                f"datasets[{index}] has masks, which would stay where they are while {moved[0]} moves the pictures.",
                "Leave it out of augmentations; flip_x and flip_y turn masks too.",
            )
        if isinstance(job.network, Full) and dataset.prior_reg:
            raise JobError(
                f"datasets[{index}].prior_reg asks the base model, which is not there any more where all weights are trained.",
                "Leave it out, or train a LoRA: network.type lora.",
            )
    masked = any(dataset.mask_path or dataset.alpha_mask for dataset in job.datasets)
    if job.train.inverted_mask_prior and (isinstance(job.network, Full) or not masked):
        raise JobError(
            "train.inverted_mask_prior needs masks, and a base model to ask: an adapter, not all weights.",
            "Set mask_path or alpha_mask of a data set and train a LoRA, or leave it out.",
        )
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
