"""Base models: found on this computer or fetched from the hub, and loaded part by part.

Only the autoencoder, the tokenizers and the scheduler are loaded when a model is opened; text encoders and the denoiser
come when they are needed and go when they are not, so that the peak is the largest part and not the sum.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
from pathlib import Path
from typing import Any

import httpx
import torch
from diffusers import DiffusionPipeline
from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..errors import JobError
from ..families.base import ModelFamily
from ..families.catalog import defaults_of, family_name, load_family, locate, pipeline_in
from ..jobs import ModelSection
from .device import free


def find_model(model: ModelSection) -> Path:
    """The folder of the base model, fetched from the hub if this computer does not have it."""
    name = model.name_or_path
    if folder := locate(name):
        return folder
    if Path(name).suffix in {".ckpt", ".pt", ".pth", ".bin"}:
        raise JobError(f"{name} is a pickle file, which can run code when it is opened.", "Use a .safetensors version of the model, in diffusers layout.")
    if Path(name).exists():
        raise JobError(f"{name} is not a model folder: it has no model_index.json.", "Give the folder of a model in diffusers layout.")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise JobError(f"There is no base model at {name}.", "Give a folder in diffusers layout, or a hub id such as black-forest-labs/FLUX.1-dev.")
    return _from_hub(name, model.revision)


def _from_hub(name: str, revision: str | None) -> Path:
    page = f"{constants.ENDPOINT}/{name}"
    try:
        return Path(DiffusionPipeline.download(name, revision=revision, use_safetensors=True))
    except GatedRepoError as error:
        token = "Your token has no access yet." if get_token() else "No token is set: put one in Settings, or run hf auth login."
        raise JobError(f"{name} is gated.", f"Accept its licence at {page}. {token}") from error
    except RevisionNotFoundError as error:
        raise JobError(f"{name} has no revision {revision!r}.", f"See its branches at {page}.") from error
    except RepositoryNotFoundError as error:
        raise JobError(f"There is no base model {name}, here or on the hub.", "Check the spelling; private models need a token in Settings.") from error
    except (EntryNotFoundError, LocalEntryNotFoundError) as error:
        if constants.HF_HUB_OFFLINE or isinstance(error, LocalEntryNotFoundError):
            raise _unreachable(name) from error
        raise JobError(f"{name} is not in diffusers layout.", "Choose a model with a model_index.json.") from error
    except (httpx.HTTPError, OSError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise JobError(f"The disk is full: {name} could not be downloaded.", "Free some space, or set HF_HOME to a larger disk.") from error
        raise _unreachable(name) from error


def _unreachable(name: str) -> JobError:
    return JobError(
        f"{name} is not on this computer, and the hub cannot be reached.",
        "Check the network and start again, set a folder with models in Settings, or use the Starter, which is built in.",
    )


def open_family(model: ModelSection, dtype: torch.dtype) -> ModelFamily:
    """The family around its pipeline, on the CPU, with autoencoder, tokenizers and scheduler; the large parts are absent."""
    folder = find_model(model)
    family = load_family(family_name(model.arch, pipeline_in(folder)))
    absent: dict[str, Any] = dict.fromkeys((*family.text_parts, family.denoiser_part))
    try:
        pipe = family.pipeline_class.from_pretrained(folder, torch_dtype=dtype, local_files_only=True, **absent)
    except (OSError, ValueError) as error:
        raise JobError(f"The base model in {folder} cannot be loaded: {error}", "Its files may be incomplete: download it again.") from error
    pipe.set_progress_bar_config(disable=True)
    return family(pipe, defaults_of(model.name_or_path, family.name), folder)


def load_parts(family: ModelFamily, names: tuple[str, ...], device: torch.device, dtype: torch.dtype) -> list[torch.nn.Module]:
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
        part = module.from_pretrained(family.folder, subfolder=name, torch_dtype=dtype, local_files_only=True)
    except (OSError, ValueError) as error:
        raise JobError(f"{name} of the base model in {family.folder} cannot be loaded: {error}", "Its files may be incomplete: download it again.") from error
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
