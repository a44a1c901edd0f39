"""From a job to a bench: pictures and captions encoded, the model loaded, the network attached.

Each large part is loaded, used and let go before the next one comes.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from ..control import Control
from ..data.batches import Batches
from ..data.caches.cache import LatentCache, MaskCache
from ..data.caches.room import keep_within
from ..data.captions.options import Wording, variants, wording_of
from ..data.captions.text import TRIGGER
from ..data.files.sound import whole_items
from ..data.gather import gather
from ..data.scan import Item, scan
from ..data.sizes.buckets import Placed, place, pools_of
from ..data.sizes.cuts import cut_items
from ..data.words import count
from ..events import Event, Noted, Phase, Warned
from ..jobs import Full, TrainJob
from ..jobs.adapters import IpAdapter, Redux
from ..network.companions import Companions
from ..network.guides.making import attach_guide, guide_for
from ..runs.folder import RunFolder
from ..runtime.compiling import compile_blocks
from ..runtime.device import DTYPES, Peak, pick_device, pick_dtype
from ..runtime.loading import fingerprint, load_parts, open_family
from ..runtime.texts import Texts, text_of
from ..sampling.draw import texts_of
from ..sampling.requests import requests_of
from ..settings import load_settings
from .bench import Bench
from .checks import (
    check_family,
    check_references,
    check_settings,
    guidance_notes,
    inpainting_notes,
    with_first_frames,
)
from .control_notes import small_controls
from .guided import check_samples, with_test_pictures
from .heldout import InOrder, as_they_are, hold_back, once, with_folder
from .loader import Loader, changes, erased_copy, references
from .looked_at import looks_notes, with_looks
from .looks import Looks
from .made_controls import fill_controls, made_in, plan_controls
from .networks import network_of
from .optimizers import device_notes
from .prompts import captioned, check_prompts, other_prompts
from .reference_sizes import with_own_sizes
from .wishes import load_for_drawing

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
    yield from check_settings(job)
    yield from device_notes(job, device)

    seen = with_folder(job)
    in_use = []
    for dataset in seen.datasets:
        in_use.append((yield from gather(dataset, control)))
    yield Phase(name="Reading pictures")
    told: list[Warned] = []
    items = [
        item
        for index, dataset in enumerate(seen.datasets)
        for item in scan(captioned(job, dataset), trigger=job.trigger_of(dataset), index=index, notes=told)
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
    items = yield from with_first_frames(seen, family, family.title, items)
    guide = guide_for(job.adapter, family) if job.adapter else None
    looks = Looks(job.adapter.image_encoder_path, guide.sight) if guide and isinstance(job.adapter, IpAdapter | Redux) else None
    yield from looks_notes(seen.datasets, looks is not None)
    items = with_looks(seen.datasets, items) if looks else items
    check_family(job, family, family.title)
    check_references(job, family, family.title, items)
    yield from guidance_notes(job, family)
    yield from inpainting_notes(family, items, made_in(places))
    in_use += yield from fill_controls(places, control)
    items, aside = hold_back(job, items)
    placed = place(job.datasets, items, family.defaults.resolution, family.pixel_multiple)
    if not looks:
        yield from small_controls(items, placed)
    alone_shown = not guide and not job.pair_slider  # what an adapter is shown, and the other half of a pair, fit the picture
    placed = with_own_sizes(family, items, placed) if alone_shown else placed
    requests, first = (
        with_test_pictures(requests_of(asked, family.defaults, job.triggers, family.pixel_multiple), job.adapter) if asked and job.sample.sample_every else []
        for asked in (job.sample, None if job.sample.skip_first_sample else job.first_sample)
    )
    if guide:
        yield from check_samples([*requests, *first], guide.pictures)
    control.check()

    yield Phase(name="Encoding captions", peak=peak.take())
    texts = None
    if job.reads_in_steps:
        yield from load_parts(family, family.text_parts, device, held)
    else:
        texts = Texts(family, device, held, compute)
        captions = ((item, text) for item in [*items, *aside] for text in ("", *variants(item.caption, wordings[item.dataset], job.train.seed)))
        wanted = {
            text_of(family, prompt, item.controls, item.shown_cut)
            for item, text in captions
            for prompt in (text, *other_prompts(job, seen.datasets[item.dataset], text).values())
        }
        drawn = {text for request in (*requests, *first) for text in texts_of(family, request)}
        yield from texts.remember(wanted | drawn, control)
    control.check()

    yield Phase(name="Encoding pictures", peak=peak.take())
    yield from load_parts(family, family.vae_parts, device, held)
    key = {"family": family.name, "encoder": fingerprint(family, family.vae_parts), "options": repr(held)}
    latents = LatentCache(load_settings().folder("cache"), key)
    masks = MaskCache(load_settings().folder("cache"))
    still = [one for one in placed if not changes(job.datasets[items[one.item].dataset])]
    encoded = with_references if guide is None or guide.takes == "latents" else alone
    if looks:
        shown_to_it = [*(item.controls[0] for item in (*items, *aside)), *(Path(request.controls[0]) for request in (*requests, *first) if request.controls)]
        yield from looks.fill(shown_to_it, device, control)
    yield from latents.fill(*encoded(items, still), family.encode_pixels, PICTURE_BATCH, control, family.encode_reference)
    yield from masks.fill(*with_erased(items, still), control)
    shown = as_they_are(seen)
    aside_placed = once(place(shown.datasets, aside, family.defaults.resolution, family.pixel_multiple))
    aside_placed = with_own_sizes(family, aside, aside_placed) if alone_shown else aside_placed
    yield from latents.fill(*encoded(aside, aside_placed), family.encode_pixels, PICTURE_BATCH, control, family.encode_reference)
    yield from masks.fill(*with_erased(aside, aside_placed), control)
    stay = family.vae_parts if len(still) < len(placed) else ()
    for part in family.vae_parts:
        if part not in stay:
            getattr(family.pipe, part).to("cpu")
    control.check()

    yield from keep_within()
    yield Phase(name="Loading the model", peak=peak.take())
    if requests or first:
        yield from load_for_drawing(family, job, device)
    yield from load_parts(family, family.denoiser_parts(), device, held)
    if job.train.gradient_checkpointing:
        for denoiser in family.denoisers:
            denoiser.enable_gradient_checkpointing()
    guided = attach_guide(job.adapter, family, device, held, job.train.seed, job.train.gradient_checkpointing) if job.adapter else None
    if guided:
        guided.look = looks
    network = guided or network_of(job, family, device)
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
    loader = Loader(job, family, items, placed, batches, latents, masks, texts, wordings, device.type == "cuda", guide.takes if guide else None, looks)
    bench = Bench(job, family, network, device, compute, loader, texts, requests, companions, stay, in_use, first)
    if aside:
        in_order = InOrder(aside_placed, job.train.batch_size)
        plain = Loader(shown, family, aside, aside_placed, in_order, latents, masks, texts, [Wording()] * len(seen.datasets), loader.pin, loader.takes, looks)
        bench.held = replace(bench, job=shown, loader=plain)
        yield Noted(message=f"{count(len(aside), 'picture is', 'pictures are')} held back for validation; {len({item.path for item in items})} are trained on.")
    return bench


def with_references(items: list[Item], placed: list[Placed]) -> tuple[list[Item], list[Placed]]:
    """All that is encoded: items, and after them the reference pictures of each, at the size of their item or at their own."""
    pictures, places = list(items), list(placed)
    for one in placed:
        for index, mate in enumerate(references(items[one.item])):
            places.append(replace(one, item=len(pictures), bucket=one.shown[index] if one.shown else one.bucket))
            pictures.append(mate)
    return pictures, places


def with_erased(items: list[Item], placed: list[Placed]) -> tuple[list[Item], list[Placed]]:
    """All whose masks are read: items, and after them their erased copies."""
    copied = [one for one in placed if items[one.item].erased]
    copies = [replace(one, item=len(items) + index) for index, one in enumerate(copied)]
    return [*items, *(erased_copy(items[one.item]) for one in copied)], [*placed, *copies]


def alone(items: list[Item], placed: list[Placed]) -> tuple[list[Item], list[Placed]]:
    """All that is encoded where an adapter looks at the pixels of reference pictures."""
    return list(items), list(placed)
