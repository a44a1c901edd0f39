"""What a base model wants, as data: read without torch, so that the form can be filled before anything heavy is loaded."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import JobError

FILE = "darkroom.json"


class ModelDefaults(BaseModel):
    """Stands in ``darkroom.json`` beside a model's ``model_index.json``, or in the catalog for known models."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    title: str = ""
    family: str = ""
    note: str = ""
    """One sentence: what it is for and what it is not for."""
    width: int = 1024
    height: int = 1024
    sample_steps: int = 28
    guidance_scale: float = 3.5
    """Fed to the guidance embedding where the model has one; else classifier-free guidance with an empty negative prompt."""
    max_sequence_length: int | None = None
    """Text tokens. None: what the pipeline does by itself."""
    num_frames: int = 1
    """Of a sampled video."""
    fps: int = 16
    resolution: list[int] = [512, 768, 1024]
    """Sizes that training uses unless the data set says otherwise."""


def read_defaults(folder: Path) -> ModelDefaults | None:
    """The defaults of a model's folder; None if it has none."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return ModelDefaults.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise JobError(f"{file} cannot be read: {error}.", "Mend the file, or delete it to use the family's defaults.") from error
