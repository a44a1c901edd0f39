"""What is drawn on the way: sample prompts, and other ones from the middle of a run on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ..control import Control
from ..errors import JobError
from ..events import Event, Phase, Sampled, Warned
from ..families.base import ModelFamily, Request
from ..jobs import TrainJob
from ..runs.folder import RunFolder
from ..runtime.device import free, pick_dtype
from ..runtime.loading import drop_parts, load_parts
from ..sampling.draw import draw, save_picture, texts_of
from ..sampling.requests import requests_of
from .bench import Bench
from .guided import with_test_pictures
from .learner import Learner
from .rest import carry, parts_on


def load_for_drawing(family: ModelFamily, job: TrainJob, device: torch.device) -> Iterator[Event]:
    """Loads what is asked only while pictures are drawn, in the precision of a model that does not learn, and puts it aside on the CPU."""
    missing = tuple(part for part in family.drawing_parts if getattr(family.pipe, part) is None)
    yield from load_parts(family, missing, device, pick_dtype(job.model.dtype, device))
    for part in missing:
        getattr(family.pipe, part).to("cpu")


def draw_samples(job: TrainJob, bench: Bench, learner: Learner, folder: RunFolder, instead: Sequence[Request] = ()) -> Iterator[Event]:
    """Every sample prompt, or others ``instead``, with the averaged weights where there is an average."""
    requests = instead or bench.requests
    if not requests:
        yield Warned(message="There is nothing to draw: this run has no sample prompts.", hint="Change sample.prompts.")
    else:  # of a run that had no prompts at first
        yield from load_for_drawing(bench.family, bench.job, bench.device)
    for index, request in enumerate(requests):
        kind = "webp" if bench.family.is_video else job.sample.format
        path = folder.sample_path(learner.step, index, request.prompt, kind)
        with (
            bench.at_hand(*bench.family.vae_parts, *bench.family.drawing_parts),
            learner.averaged(),
            bench.companions.sampling(),
            bench.network.scaled(request.strength),
            bench.drawn(request) as plain,
        ):
            image = draw(bench.family, bench.conditioning, plain, bench.device, bench.dtype)
        save_picture(image, path, request, model=job.model.name_or_path, run=job.name, step=str(learner.step))
        yield Sampled(
            step=learner.step,
            index=index,
            prompt=request.prompt,
            path=path.relative_to(folder.path),
            seed=request.seed,
        )


def take_wishes(job: TrainJob, bench: Bench, learner: Learner) -> Iterator[Event]:
    """The sample prompts of a job that has other ones than the bench. New texts are read by the text encoders, which are loaded
    for that; the model makes room meanwhile. Where that cannot be, the prompts stay as they were."""
    try:
        requests = requests_of(job.sample, bench.family.defaults, job.triggers, bench.family.pixel_multiple)
        requests = with_test_pictures(requests, job.adapter) if job.adapter else requests
        texts = {text for request in requests for text in texts_of(bench.family, request)}
        if bench.texts and not bench.texts.knows(texts):
            yield Phase(name=f"Reading new prompts after step {learner.step}")
            yield from _read(bench, learner, texts)
            yield Phase(name=f"Training, continued after step {learner.step}")
    except JobError as error:
        yield Warned(message=f"The sample prompts stay as they were: {error.message}", hint=error.hint)
        return
    bench.requests = requests


def _read(bench: Bench, learner: Learner, texts: set) -> Iterator[Event]:
    assert bench.texts
    away = parts_on(bench)
    carry(away, learner, torch.device("cpu"))
    free(bench.device)
    try:
        yield from bench.texts.remember(texts, Control())  # a stop waits for it: the step is done, and is to be saved
    except torch.OutOfMemoryError:
        drop_parts(bench.family, bench.family.text_parts, bench.device)
        raise JobError(
            "There is not enough memory to read new ones while the model is loaded.", "Stop the run, change its prompts and continue."
        ) from None
    finally:
        carry(away, learner, bench.device)
