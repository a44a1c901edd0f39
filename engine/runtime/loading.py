"""Base models: found on this computer or fetched from the hub, and loaded part by part.

Only the autoencoder, the tokenizers and the scheduler are loaded when a model is opened; text encoders and the denoiser
come when they are needed and go when they are not, so that the peak is the largest part and not the sum.
"""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from ..errors import JobError
from ..families.base import ModelFamily
from ..families.catalog import defaults_of, family_name, load_family, pipeline_in
from ..jobs import ModelSection
from .device import free
from .hub import hub_errors, place_of

diffusers_logging.disable_progress_bar()  # the engine tells its progress in events
transformers_logging.disable_progress_bar()


def find_model(model: ModelSection) -> Path:
    """The folder of the base model, fetched from the hub if this computer does not have it."""
    place = place_of(model)
    if isinstance(place, Path):
        return place
    with hub_errors(place, model.revision):
        return Path(DiffusionPipeline.download(place, revision=model.revision, use_safetensors=True))


def open_family(model: ModelSection, dtype: torch.dtype) -> ModelFamily:
    """The family around its pipeline, on the CPU, with autoencoder, tokenizers and scheduler; the large parts are absent."""
    folder = find_model(model)
    family = load_family(family_name(model.arch, pipeline_in(folder)))
    absent: dict[str, Any] = dict.fromkeys((*family.text_parts, family.denoiser_part))
    try:
        pipe = family.pipeline_class.from_pretrained(folder, dtype=dtype, local_files_only=True, **absent)
    except (OSError, ValueError) as error:
        raise JobError(
            f"The base model in {folder} cannot be loaded: {error}",
            "Its files may be incomplete: download it again.",
        ) from error
    pipe.set_progress_bar_config(disable=True)
    return family(pipe, defaults_of(model.name_or_path, family.name), folder)


def load_parts(
    family: ModelFamily, names: tuple[str, ...], device: torch.device, dtype: torch.dtype
) -> list[torch.nn.Module]:
    """Load the named parts of the pipeline onto ``device``; those already there are only moved."""
    for name in names:
        if getattr(family.pipe, name, None) is None:
            family.pipe.register_modules(**{name: _load_part(family, name, dtype)})
        getattr(family.pipe, name).to(device)
    return [getattr(family.pipe, name) for name in names]


def _load_part(family: ModelFamily, name: str, dtype: torch.dtype) -> torch.nn.Module:
    library, class_name = family.pipe.load_config(family.folder)[name]
    module = getattr(importlib.import_module(library), class_name)
    try:
        part = module.from_pretrained(family.folder, subfolder=name, dtype=dtype, local_files_only=True)
    except (OSError, ValueError) as error:
        raise JobError(
            f"{name} of the base model in {family.folder} cannot be loaded: {error}",
            "Its files may be incomplete: download it again.",
        ) from error
    return part.eval().requires_grad_(False)


def drop_parts(family: ModelFamily, names: tuple[str, ...], device: torch.device) -> None:
    """Forget the named parts and give their memory back."""
    family.pipe.register_modules(**dict.fromkeys(names))
    free(device)


def fingerprint(family: ModelFamily, names: tuple[str, ...]) -> str:
    """Changes when a file of the named parts does: names, sizes and times of their files, links followed."""
    digest = hashlib.sha256()
    for name in names:
        for file in sorted((family.folder / name).rglob("*")):
            status = file.resolve().stat()
            digest.update(f"{name}/{file.name}:{status.st_size}:{status.st_mtime_ns};".encode())
    return digest.hexdigest()
