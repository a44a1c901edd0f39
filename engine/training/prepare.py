"""From a job to a bench: pictures and captions encoded, the model loaded, the network attached.

Each large part is loaded, used and let go before the next one comes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

from ..control import Control
from ..data.batches import Batches
from ..data.caches.cache import LatentCache, MaskCache
from ..data.caches.room import Use, keep_within
from ..data.captions.options import Wording, variants, wording_of
from ..data.captions.text import TRIGGER
from ..data.files.sound import whole_items
from ..data.gather import gather
from ..data.scan import Item, scan
from ..data.sizes.buckets import Placed, place, pools_of
from ..data.sizes.cuts import cut_items
from ..data.words import count
from ..events import Event, Noted, Phase, Warned
from ..families.base import ModelFamily, Request
from ..jobs import Full, SampleSettings, TrainJob
from ..jobs.adapters import IpAdapter, Redux
from ..network.base import Network
from ..network.companions import Companions
from ..network.guides.base import Listener
from ..network.guides.making import attach_guide, guide_for
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
from .networks import form_notes, network_of
from .optimizers import device_notes
from .prompts import captioned, check_prompts, other_prompts, read_with
from .reference_sizes import with_own_sizes
from .wishes import load_for_drawing

PICTURE_BATCH = 8


def prepare(
    job: TrainJob, control: Control, before_loading: Callable[[list[Item]], Iterator[Event]] = lambda items: iter(())
) -> Generator[Event, None, Bench]:
    """Yields what happens; returns the bench. Raises Stopped when asked to stop.

    ``before_loading`` is told what is trained on once that is known, and may raise: nothing large is loaded by then.
    """
    work = _Preparation(job, control)
    for phase in (work.read, work.open, lambda: before_loading(work.items), work.encode_captions, work.encode_pictures):
        yield from phase()
        control.check()
    return (yield from work.load())


class _Preparation:
    """What each phase hands on to the next."""

    family: ModelFamily
    items: list[Item]
    """What is trained on."""
    aside: list[Item]
    """What is held back for validation."""
    placed: list[Placed]
    aside_placed: list[Placed]
    requests: list[Request]
    first: list[Request]
    """What is drawn before the first step, where that is something else than ``requests``."""
    texts: Texts | None = None
    guide: type[Listener] | None = None
    looks: Looks | None = None

    def __init__(self, job: TrainJob, control: Control):
        self.job, self.control = job, control
        self.seen = with_folder(job)
        self.device = pick_device()
        self.compute = pick_dtype(job.train.dtype, self.device)
        # weights that learn are kept in fp32, unless their steps are rounded at random
        self.held = DTYPES[job.train.weights_dtype] if isinstance(job.network, Full) else pick_dtype(job.model.dtype, self.device)
        self.peak = Peak(self.device)
        self.in_use: list[Use | None] = []
        self.wordings = [wording_of(dataset) for dataset in self.seen.datasets]

    def read(self) -> Iterator[Event]:
        """Pictures, captions and prompts, before any model is there."""
        job, seen = self.job, self.seen
        yield from check_settings(job)
        yield from device_notes(job, self.device)
        for dataset in seen.datasets:
            self.in_use.append((yield from gather(dataset, self.control)))
        yield Phase(name="Reading pictures")
        told: list[Warned] = []
        items = [
            item
            for index, dataset in enumerate(seen.datasets)
            for item in scan(captioned(job, dataset), trigger=job.trigger_of(dataset), index=index, notes=told)
        ]
        yield from told
        self.items = yield from whole_items(items, self.control)
        if any(TRIGGER in item.caption for item in self.items):
            yield Warned(
                message=f"Captions say {TRIGGER}, and there are no trigger words.", hint="Set trigger_word, or they are learned as that."
            )
        yield from check_prompts(seen, self.items)

    def open(self) -> Iterator[Event]:
        """The base model's configuration, and with it what each picture is for it: cut, shown, masked, held back, of which size."""
        yield Phase(name="Opening the base model")
        job, datasets = self.job, self.seen.datasets
        self.family = family = open_family(job.model, self.held)
        items, notes = cut_items(datasets, self.items, family.title, family.is_video, family.frame_multiple, family.defaults.fps)
        yield from notes
        items, made = plan_controls(datasets, items)
        items = yield from with_first_frames(self.seen, family, family.title, items)
        self.guide = guide_for(job.adapter, family) if job.adapter else None
        if self.guide and isinstance(job.adapter, IpAdapter | Redux):
            self.looks = Looks(job.adapter.image_encoder_path, self.guide.sight)
        yield from looks_notes(datasets, self.looks is not None)
        items = with_looks(datasets, items) if self.looks else items
        check_family(job, family, family.title)
        check_references(job, family, family.title, items)
        yield from guidance_notes(job, family)
        yield from inpainting_notes(family, items, made_in(made))
        self.in_use += yield from fill_controls(made, self.control)
        self.items, self.aside = hold_back(job, items)
        self.placed = self._place(job, self.items)
        if not self.looks:
            yield from small_controls(self.items, self.placed)
        self.placed = self._with_references(self.items, self.placed)
        self.aside_placed = self._with_references(self.aside, once(self._place(as_they_are(self.seen), self.aside)))
        self.requests = self._requests(job.sample)
        self.first = self._requests(None if job.sample.skip_first_sample else job.first_sample)
        if self.guide:
            yield from check_samples([*self.requests, *self.first], self.guide.pictures)

    def _place(self, job: TrainJob, items: list[Item]) -> list[Placed]:
        return place(job.datasets, items, self.family.defaults.resolution, self.family.pixel_multiple)

    def _with_references(self, items: list[Item], placed: list[Placed]) -> list[Placed]:
        """What an adapter is shown, and the other half of a pair, fit the picture; what a model itself is shown may have a size of its own."""
        return placed if self.guide else with_own_sizes(self.family, items, placed, last_fits=self.job.pair_slider is not None)

    def _requests(self, asked: SampleSettings | None) -> list[Request]:
        if not asked or not self.job.sample.sample_every:
            return []
        return with_test_pictures(requests_of(asked, self.family.defaults, self.job.triggers, self.family.pixel_multiple), self.job.adapter)

    def encode_captions(self) -> Iterator[Event]:
        """All that is ever said to the model; where the text encoders learn, they are loaded to stay."""
        job, family = self.job, self.family
        yield Phase(name="Encoding captions", peak=self.peak.take())
        if job.reads_in_steps:
            yield from load_parts(family, family.text_parts, self.device, self.held)
            return
        self.texts = Texts(family, self.device, self.held, self.compute)
        captions = (
            (item, text)
            for item in [*self.items, *self.aside]
            for text in ("", *variants(item.caption, self.wordings[item.dataset], job.train.seed))
        )
        wanted = {
            text_of(family, prompt, read_with(job, item), item.shown_cut)
            for item, text in captions
            for prompt in (text, *other_prompts(job, self.seen.datasets[item.dataset], text).values())
        }
        drawn = {text for request in (*self.requests, *self.first) for text in texts_of(family, request)}
        yield from self.texts.remember(wanted | drawn, self.control)

    def encode_pictures(self) -> Iterator[Event]:
        """Latents of all that stays as it is; what changes from step to step is encoded then."""
        job, family = self.job, self.family
        yield Phase(name="Encoding pictures", peak=self.peak.take())
        yield from load_parts(family, family.vae_parts, self.device, self.held)
        if self.looks:
            of_items = [item.controls[0] for item in (*self.items, *self.aside)]
            of_requests = [Path(request.controls[0]) for request in (*self.requests, *self.first) if request.controls]
            yield from self.looks.fill([*of_items, *of_requests], self.device, self.control)
        key = {"family": family.name, "encoder": fingerprint(family, family.vae_parts), "options": repr(self.held)}
        cache = load_settings().folder("cache")
        self.latents, self.masks = LatentCache(cache, key), MaskCache(cache)
        still = [one for one in self.placed if not changes(job.datasets[self.items[one.item].dataset])]
        encoded = with_references if self.guide is None or self.guide.takes == "latents" else alone
        for items, placed in ((self.items, still), (self.aside, self.aside_placed)):
            yield from self.latents.fill(
                *encoded(items, placed), family.encode_pixels, PICTURE_BATCH, self.control, family.encode_reference
            )
            yield from self.masks.fill(*with_erased(items, placed), self.control)
        self.stay = family.vae_parts if len(still) < len(self.placed) else ()
        for part in family.vae_parts:
            if part not in self.stay:
                getattr(family.pipe, part).to("cpu")

    def load(self) -> Generator[Event, None, Bench]:
        """The denoiser, with what learns on it."""
        job, family, device = self.job, self.family, self.device
        yield from keep_within()
        yield Phase(name="Loading the model", peak=self.peak.take())
        if self.requests or self.first:
            yield from load_for_drawing(family, job, device)
        yield from load_parts(family, family.denoiser_parts(), device, self.held)
        network = self._network()
        if network.idle:
            yield Warned(
                message=f"{' and '.join(network.idle)} {'has' if len(network.idle) == 1 else 'have'} no effect on this network and model."
            )
        yield from form_notes(job, family, network)
        for denoiser in family.denoisers:
            denoiser.to(device)  # what was attached beside offloaded weights
        companions = Companions(family, job.model)
        yield from companions.told()
        for denoiser in family.denoisers:
            if job.model.compile:
                yield from compile_blocks(denoiser, device)
            denoiser.train()
        self.control.check()
        batches = Batches(self.placed, job.train.batch_size, job.train.seed, pools_of(job.datasets)[1])
        if batches.filled:
            yield Noted(
                message=f"{count(batches.filled, 'picture comes', 'pictures come')} once more in each round, so that all batches are full."
            )
        if self.aside:
            trained = len({item.path for item in self.items})
            yield Noted(
                message=f"{count(len(self.aside), 'picture is', 'pictures are')} held back for validation; {trained} are trained on."
            )
        return self._bench(network, companions, batches)

    def _network(self) -> Network:
        job, family = self.job, self.family
        if job.train.gradient_checkpointing:
            for denoiser in family.denoisers:
                denoiser.enable_gradient_checkpointing()
        if not job.adapter:
            return network_of(job, family, self.device)
        guided = attach_guide(job.adapter, family, self.device, self.held, job.train.seed, job.train.gradient_checkpointing)
        guided.look = self.looks
        return guided

    def _bench(self, network: Network, companions: Companions, batches: Batches) -> Bench:
        job = self.job
        takes = self.guide.takes if self.guide else None
        loader = Loader(
            job, self.family, self.items, self.placed, batches, self.latents, self.masks, self.texts, self.wordings,
            self.device.type == "cuda", takes, self.looks,
        )  # fmt: skip
        bench = Bench(
            job,
            self.family,
            network,
            self.device,
            self.compute,
            loader,
            self.texts,
            self.requests,
            companions,
            self.stay,
            self.in_use,
            self.first,
        )
        if self.aside:
            shown, in_order = as_they_are(self.seen), InOrder(self.aside_placed, job.train.batch_size)
            plain = replace(
                loader,
                job=shown,
                items=self.aside,
                placed=self.aside_placed,
                batches=in_order,
                wordings=[Wording()] * len(self.seen.datasets),
            )
            bench.held = replace(bench, job=shown, loader=plain)
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
