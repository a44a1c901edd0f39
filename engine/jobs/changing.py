"""Settings that may be changed while a run is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from ..errors import JobError
from .base import Job, Strict
from .load import load_job

CHANGEABLE = ("train.lr", "train.steps", "sample.sample_every", "sample.prompts", "sample.samples", "save.save_every")


def value_of(job: Job, key: str) -> Any:
    """As JSON holds it."""
    section, _, name = key.partition(".")
    part = getattr(job, section, None)
    return part.model_dump(mode="json", include={name}).get(name) if isinstance(part, Strict) else None


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


def different(then: Job, now: Job) -> list[str]:
    """What the two do not have alike, each as a sentence part: ``train.lr was 0.0001, is 0.001``."""
    old, new = flat(then), flat(now)
    return [f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in sorted({*old, *new}) if old.get(key) != new.get(key)]


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Settings by dotted key, those of lists of sections by their number too."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {inner: one for key, some in value.items() for inner, one in flat(some, f"{path}.{key}".removeprefix(".")).items()}
    if isinstance(value, list) and value and all(isinstance(inner, Mapping) for inner in value):
        return {inner: one for index, some in enumerate(value) for inner, one in flat(some, f"{path}[{index}]").items()}
    return {path: value}
