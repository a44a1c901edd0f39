"""What can be known of a job before it runs: its data and its base model. Loads no torch, writes and downloads nothing large."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .data.scan import scan
from .errors import JobError
from .families.catalog import base_of, family_name, pipeline_in
from .jobs import Dataset, GenerateJob, Job, ModelSection, TrainJob, VaeJob
from .runtime.hub import arch_of, look_up, place_of
from .runtime.places import find_place, other_places
from .settings import resolve


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
            for index, dataset in enumerate(job.datasets):
                yield _tried(partial(_data, job, dataset, index))
            yield _tried(partial(_model, job.model))
        case GenerateJob():
            for lora in job.loras:
                yield _file(lora.path)
            yield _tried(partial(_model, job.model))
        case VaeJob():
            for data in job.datasets:
                yield _tried(partial(_data, job, Dataset(path=data.path, default_caption=""), 0))
            yield _file(str(Path(job.vae_path) / "config.json"))


def _tried(look: Callable[[], str]) -> Finding:
    try:
        return Finding(True, look())
    except JobError as error:
        return Finding(False, str(error))


def _data(job: Job, dataset: Dataset, index: int) -> str:
    trigger = job.trigger_word if isinstance(job, TrainJob) else None
    pictures = len({item.path for item in scan(dataset, dataset.trigger_word or trigger, index)})
    return f"{dataset.path}: {pictures} picture{'s' if pictures != 1 else ''}, all readable{', with captions' if job.kind == 'train' else ''}."


def _model(model: ModelSection) -> str:
    loras = ("lora_path", "assistant_lora_path", "inference_lora_path")
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


def _file(name: str) -> Finding:
    path = resolve(name)
    if path.is_file() and os.access(path, os.R_OK):
        return Finding(True, f"{name} is there.")
    return Finding(False, f"There is no file {name}. Check the path.")
