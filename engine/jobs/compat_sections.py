"""One section of AI Toolkit's jobs, key by key: what both vocabularies have is passed on, and of the rest it is said what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import AliasChoices

from ..errors import JobError
from . import compat_keys as keys
from .base import SampleItem, Strict
from .compat_objectives import check_unwise
from .data import Dataset
from .networks import Dora, Lokr, Lora
from .train import Ema, Logging, Sample, Save, Train, TrainModel

Section = dict[str, Any]
Note = Callable[..., None]
"""Takes a message and a hint: what of the job is not taken over."""
Idle = Callable[[str], None]
"""Takes the path of a key that has no effect here."""

OURS: dict[str, tuple[type[Strict], ...]] = {
    "process": (), "model": (TrainModel,), "network": (Lora, Lokr, Dora), "train": (Train,), "ema": (Ema,), "save": (Save,),
    "sample": (Sample,), "item": (SampleItem,), "dataset": (Dataset,), "logging": (Logging,),
}  # fmt: skip
"""Section of its file → the models whose keys are passed on as they are."""


def read_section(kind: str, given: Section, prefix: str, note: Note, idle: Idle) -> Section:
    """What both vocabularies have; of the rest it is said what becomes of it. ``prefix`` stands before its keys in messages."""
    kept: Section = {}
    ours = names_of(kind)
    for key, value in given.items():
        path = f"{prefix}{key}"
        if key in ours:
            kept[key] = value
        elif value is None or check_unwise(kind, key, value, path):
            continue
        elif key in keys.NO_EFFECT[kind]:
            idle(path)
        elif key in keys.LATER[kind]:
            if not _changes_nothing(value, keys.LATER[kind][key]):
                note(f"{path} is not supported yet and is left out: {keys.COSTS.get(key, 'the result will differ')}.")
        elif key in keys.REFUSED[kind]:
            neutral, what = keys.REFUSED[kind][key]
            if not _changes_nothing(value, neutral):
                raise JobError(f"{path} asks for {what}, which is not supported yet.", "Take it out to train without.")
        else:
            note(f"{path} is not a known key and is left out.", "Check its spelling.")
    return kept


def names_of(kind: str) -> set[str]:
    """Our keys of a section, with the other names that they may have."""
    names: set[str] = set()
    for model in OURS[kind]:
        for name, field in model.model_fields.items():
            aliases = field.validation_alias
            names |= {name, *(map(str, aliases.choices) if isinstance(aliases, AliasChoices) else ())}
    return names


def as_section(value: Any, path: str) -> Section:
    """A copy of the section that may be changed; a JobError if it is none."""
    if not isinstance(value, Mapping):
        raise JobError(f"{path} must be a section of keys; it is {value!r}.", "Compare it with AI Toolkit's examples.")
    return dict(value)


def given_in(section: Mapping[str, Any]) -> Section:
    """The section without the keys that are left empty."""
    return {key: value for key, value in section.items() if value is not None}


def _changes_nothing(value: Any, neutral: Any) -> bool:
    return value == neutral or (not value and not neutral)
