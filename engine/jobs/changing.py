"""Settings that may be changed while a run is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import JobError
from .base import Job
from .load import load_job

CHANGEABLE = ("train.lr", "train.steps", "sample.sample_every", "save.save_every")


def value_of(job: Job, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(job, section, None), name, None)


def with_values(job: Job, values: Mapping[str, Any], step: int = 0) -> Job:
    """The job with other settings. Raises JobError where they cannot be changed while it runs, or cannot be at all."""
    data = job.model_dump(mode="json")
    for key, value in values.items():
        section, _, name = key.partition(".")
        if key not in CHANGEABLE or name not in data.get(section, {}):
            raise JobError(f"{key} cannot be changed while a run is on.", f"These can, of a training: {', '.join(CHANGEABLE)}.")
        data[section][name] = value
    changed = load_job(data)
    if "train.steps" in values and value_of(changed, "train.steps") <= step:
        raise JobError(f"train.steps {values['train.steps']} is not more than the {step} that are done.", "Ask it to stop instead.")
    return changed
