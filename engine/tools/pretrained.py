"""Models of transformers that look at pictures: found on this computer or fetched, and read without torchvision.

Only safetensors are read, and only classes that transformers has: no repository's own code runs. Tried with transformers 5.23.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, BatchFeature
from transformers.utils import logging as transformers_logging

from ..errors import JobError
from ..runtime.hub import hub_errors
from ..runtime.places import find_place

transformers_logging.disable_progress_bar()  # the engine tells its progress in events

WANTED = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"]


def fetch(name: str, key: str, instead: str) -> Path:
    """The folder of a model: on this computer, in the folder with models of the settings, or fetched from the hub.

    ``key`` is the job's key that names it, ``instead`` what a person can do without it.
    """
    place = find_place(name, key)
    if (folder := place.path) is None:
        with hub_errors(place.repo, None, instead):
            folder = Path(snapshot_download(place.repo, allow_patterns=WANTED, ignore_patterns=["*/*"]))
    if not (folder / "config.json").is_file():
        raise JobError(f"{key}: {name} is no model folder: it has no config.json.", "Give a folder as transformers saves it, or a hub id.")
    if not any(folder.glob("*.safetensors")):
        raise JobError(
            f"{key}: {name} has no .safetensors file.",
            "Other files can run code when they are opened. Choose another version of the model.",
        )
    return folder


def read_config(folder: Path, key: str) -> Any:
    """What kind of model it is. Raises JobError where transformers knows no such kind; ``key`` is the job's key that names it."""
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise JobError(f"{key}: {folder} is no model of a kind that transformers reads.", "Choose another model.") from error


def read_model(kind: Any, folder: Path, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    """The model of a class of transformers, or of one of its Auto classes, ready to be asked."""
    try:
        model = kind.from_pretrained(folder, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise JobError(f"The model in {folder} cannot be loaded: {_short(error)}", reason(folder)) from error
    return model.eval().requires_grad_(False).to(device)


def read_images(folder: Path) -> Any:
    """What turns pictures into the model's input, by Pillow and NumPy."""
    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise JobError(f"The model in {folder} does not say how it sees pictures: {_short(error)}", reason(folder)) from error


def read_tokenizer(folder: Path, **options: Any) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise JobError(f"The tokenizer in {folder} cannot be loaded: {_short(error)}", reason(folder)) from error


def config_of(folder: Path) -> dict[str, Any]:
    """What config.json says; nothing if it cannot be read."""
    try:
        return json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def reason(folder: Path) -> str:
    """What a person can do about a model that transformers cannot read."""
    config = config_of(folder)
    if "model_type" not in config and "architecture" in config:
        return "It is a model of timm, which is not part of Darkroom. Choose a version that was converted for transformers."
    if "auto_map" in config:
        return "It brings code of its own, which is never run. Choose a version that transformers has a class for."
    return "Its files may be incomplete, or belong to another kind of model."


def placed(inputs: BatchFeature, model: Any) -> BatchFeature:
    """Inputs where the model is, and pixels in its precision."""
    return inputs.to(model.device, model.dtype)


def _short(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
