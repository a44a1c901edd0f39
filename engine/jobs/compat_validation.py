"""AI Toolkit's train.validation_config as our validation section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import JobError

SIGMAS = [1.0, 0.75, 0.5, 0.25]
"""Where it measures unless it is told otherwise."""


def read_validation(given: Any, note: Callable[..., None]) -> dict[str, Any] | None:
    """None where it names no pictures: then nothing is measured there either."""
    if not given:
        return None
    if not isinstance(given, Mapping):
        raise JobError(f"train.validation_config must be a section of keys; it is {given!r}.", "Compare it with AI Toolkit's examples.")
    items = [item for item in given.get("validation_items") or [] if isinstance(item, Mapping) and item.get("image_path")]
    if not items:
        note("train.validation_config names no pictures, so nothing is measured.", "Set validation.every to hold some of the data back.")
        return None
    if given.get("resolution") is not None:
        note("train.validation_config.resolution is left out: the pictures are shown at the resolution of the first data set.")
    if odd := sorted(set(given) - {"validation_items", "validate_every_n_steps", "validation_sigmas", "resolution"}):
        note(f"train.validation_config.{odd[0]} is not a known key and is left out.", "Check its spelling.")
    return {
        "every": given.get("validate_every_n_steps") or 10,
        "items": [{"image_path": item["image_path"], "prompt": item.get("prompt") or ""} for item in items],
        "sigmas": given.get("validation_sigmas") or SIGMAS,
    }
