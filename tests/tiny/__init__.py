"""Random tiny pipelines: the real classes, a few thousand weights, no download."""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path

from diffusers import DiffusionPipeline

from . import models
from .case import Case
from .models.flux import flux

__all__ = ["CASES", "DEFAULTS", "Case", "flux", "save"]

CASES: list[Case] = [
    case for module in pkgutil.iter_modules(models.__path__) for case in importlib.import_module(f"{models.__name__}.{module.name}").CASES
]
"""Every family, some in several variants."""

DEFAULTS = {
    "title": "Tiny",
    "family": "flux",
    "width": 32,
    "height": 32,
    "sample_steps": 2,
    "guidance_scale": 1.0,
    "max_sequence_length": 32,
    "resolution": [32],
}


def save(pipe: DiffusionPipeline, folder: Path, **defaults: object) -> Path:
    """The pipeline as a base model's folder, with its defaults beside it."""
    pipe.save_pretrained(folder)
    (folder / "darkroom.json").write_text(json.dumps(DEFAULTS | defaults))
    return folder
