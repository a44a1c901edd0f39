"""What can be known of a job before it runs: its data and its base model. Loads no torch, writes and downloads nothing large."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .data.gather import is_gathered
from .data.report import report
from .data.scan import Item, scan
from .data.words import count
from .errors import JobError
from .events import Event, Warned
from .families.catalog import base_of, family_name, pipeline_in
from .jobs import Dataset, GenerateJob, Job, ModelSection, TrainJob, VaeJob
from .jobs.tools.captions import CaptionsJob
from .jobs.tools.controls import ControlsJob
from .jobs.tools.masks import MaskJob
from .jobs.tools.pictures import ResizeJob, SplitJob
from .jobs.tools.weights import ExtractJob
from .runtime.hub import arch_of, look_up, place_of
from .runtime.places import find_place, other_places, recovery_of
from .settings import resolve
from .tools.pair import both_models
from .tools.targets import apart, captions_folder, pictures_in
from .training.before import check_before, check_data_before
from .training.prompts import captioned


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: well, or a problem with what to do."""

    ok: bool
    message: str


def check_job(job: Job) -> Iterator[Finding]:
    """Everything about the job that can be checked at once, one finding each."""
    yield Finding(True, f"{job.name}: every key of the {job.kind} job is right.")
    match job:
        case TrainJob():
            told, found = list(_said(partial(check_before, job))), list[Item]()
            yield from told
            for index, dataset in enumerate(captioned(job, one) for one in job.datasets):
                yield from _problems(job, dataset) or _data(job, dataset, index, found)
            if all(one.ok for one in told) and {item.dataset for item in found} == set(range(len(job.datasets))):
                yield from _said(partial(check_data_before, job, found))
            yield _tried(partial(_model, job.model))
        case GenerateJob():
            for lora in job.loras:
                yield _file(lora.path)
            yield _tried(partial(_model, job.model))
        case VaeJob():
            for data in job.datasets:
                yield from _data(job, Dataset(path=data.path, default_caption=""), 0, [])
            yield _file(str(Path(job.vae_path) / "config.json"))
        case ExtractJob():
            yield _tried(partial(_two_models, job))
        case CaptionsJob() | ResizeJob() | SplitJob() | MaskJob() | ControlsJob():
            yield _tried(partial(_pictures, job))


def _tried(look: Callable[[], str]) -> Finding:
    try:
        return Finding(True, look())
    except JobError as error:
        return Finding(False, str(error))


def _said(ask: Callable[[], Iterator[Event]]) -> Iterator[Finding]:
    """What a training would say, and what it would end with."""
    try:
        for event in ask():
            if isinstance(event, Warned):
                yield Finding(True, f"{event.message} {event.hint}".rstrip())
    except JobError as error:
        yield Finding(False, str(error))


def _problems(job: TrainJob, dataset: Dataset) -> list[Finding]:
    """What the data set's report says that training would stop at, as far as the heads of files tell it."""
    try:
        found = report(dataset, dataset.trigger_word or job.trigger_word, job.model, decode=False).problems
    except JobError:
        return []  # said by the scan
    return [Finding(False, f"{dataset.path}: {one.message}") for one in found]


def _data(job: Job, dataset: Dataset, index: int, items: list[Item]) -> Iterator[Finding]:
    """What there is to learn from, which is added to ``items``, and what the scan has to say of it."""
    notes: list[Warned] = []
    yield _tried(partial(_counted, job, dataset, index, notes, items))
    yield from (Finding(True, f"{dataset.path}: {note.message} {note.hint}".rstrip()) for note in notes)


def _counted(job: Job, dataset: Dataset, index: int, notes: list[Warned], items: list[Item]) -> str:
    if not is_gathered(dataset):
        return f"{dataset.path} is turned into pictures when the job runs."
    trigger = job.trigger_of(dataset) if isinstance(job, TrainJob) else None
    found = scan(dataset, trigger, index, notes)
    items += found
    is_video = {item.path: item.clip is not None for item in found}
    videos = sum(is_video.values())
    pictures = count(len(is_video) - videos, "picture") if len(is_video) > videos else ""
    what = " and ".join(filter(None, (pictures, count(videos, "video") if videos else "")))
    return f"{dataset.path}: {what}{', with captions' if job.kind == 'train' else ''}."


def _pictures(job: CaptionsJob | ResizeJob | SplitJob | MaskJob | ControlsJob) -> str:
    folder = resolve(job.path)
    number = len(pictures_in(folder))
    if not isinstance(job, CaptionsJob):
        apart(folder, job.to, "to")
    elif not getattr(job, "preview", 0) and not getattr(job, "dry_run", False) and not getattr(job, "undo", None):
        captions_folder(job)
    return f"{job.path}: {number} picture{'s' if number != 1 else ''}."


def _model(model: ModelSection) -> str:
    recovery_of(model)
    loras = ("lora_path", "assistant_lora_path", "inference_lora_path", "accuracy_recovery_adapter")
    named = {f"model.{key}": name for key in loras if (name := getattr(model, key))} | other_places(model)
    for key, name in named.items():
        find_place(name, key)  # what is on the hub is seen when it is fetched
    place = place_of(model)
    if isinstance(place, Path):
        family = family_name(arch_of(model), pipeline_in(place), place)
        return f"The base model is on this computer, in {place}; its family is {family}."
    look_up(place, model.revision if place == model.name_or_path else None)
    base = base_of(model.name_or_path)
    size = f" Its {base.size_gb:.0f} GB are downloaded when the job runs, unless they are here already." if base else ""
    return f"The base model {place} is on the hub, and may be used.{size}"


def _two_models(job: ExtractJob) -> str:
    base, tuned = both_models(job)
    find_place(job.extract_model, "extract_model")
    _model(tuned)
    return _model(base)


def _file(name: str) -> Finding:
    path = resolve(name)
    if path.is_file() and os.access(path, os.R_OK):
        return Finding(True, f"{name} is there.")
    return Finding(False, f"There is no file {name}. Check the path.")
