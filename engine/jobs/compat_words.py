"""AI Toolkit's embedding and decorator sections as ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import JobError
from .base import Strict
from .networks import Decorator, Embedding

Section = dict[str, Any]
OURS: Mapping[str, type[Strict]] = {"embedding": Embedding, "decorator": Decorator}


def read_words(process: Section, note: Callable[..., None]) -> Section:
    """The two sections, taken out of the process, where they are given."""
    found = {section: given for section in OURS if (given := process.pop(section, None))}
    return {section: _read(section, given, note) for section, given in found.items()}


def _read(section: str, given: Any, note: Callable[..., None]) -> Section:
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if not isinstance(given, Mapping):
        raise JobError(f"{section} must be a section of keys; it is {given!r}.", "Several embeddings are several jobs.")
    kept: Section = {}
    for key, value in given.items():
        if key in OURS[section].model_fields:
            kept[key] = value
        elif key == "save_format" and value in ("safetensors", None):
            continue
        elif key == "save_format":
            note(
                f"{section}.save_format {value} is left out: files that can run code are not written.",
                "The file is a .safetensors, which all tools read.",
            )
        elif key == "trigger_class_name":
            note(
                f"{section}.trigger_class_name has no effect: it is for train.inverted_mask_prior, which does not go together with an embedding here."
            )
        else:
            note(f"{section}.{key} is not a known key and is left out.", "Check its spelling.")
    return kept
