"""Whole models as folders in diffusers layout, written part by part in the precision that is asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch

from ..families.base import ModelFamily
from ..families.defaults import FILE
from ..runs.safe import write_safetensors
from .device import DTYPES


def save_pipeline(family: ModelFamily, path: Path, dtype: str) -> None:
    """The family's pipeline as ``path``: loaded parts from memory, absent ones copied from where the model lies."""
    path.mkdir()
    for name in ("model_index.json", FILE):
        if (family.folder / name).exists():
            shutil.copyfile(family.folder / name, path / name)
    index = json.loads((family.folder / "model_index.json").read_text(encoding="utf-8"))
    for name in (key for key, value in index.items() if isinstance(value, list) and (family.folder / key).is_dir()):
        part = getattr(family.pipe, name, None)
        if isinstance(part, torch.nn.Module):
            save_part(part, path / name, dtype)
        else:
            source = family.sources.get(name)
            shutil.copytree(source.config if source else family.folder / name, path / name)


def pipeline_size(family: ModelFamily, dtype: str) -> int:
    """About how many bytes ``save_pipeline`` writes."""
    total = 0
    for name, part in family.pipe.components.items():
        source = family.sources.get(name)
        folder = source.config if source else family.folder / name
        if isinstance(part, torch.nn.Module):
            total += sum(weight.numel() for weight in part.parameters()) * DTYPES[dtype].itemsize
        elif folder.is_dir():
            total += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return total


def save_part(part: torch.nn.Module, path: Path, dtype: str) -> None:
    """One model as a folder with its config and one safetensors file, as its own ``from_pretrained`` reads it.

    Told no dtype, diffusers reads every file as float32, transformers as its config says. So the config says float32 whatever the
    file's precision: a pipeline opened without a dtype has one and the same in all its parts, and draws.
    """
    is_diffusers = hasattr(part, "save_config")
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in plain_state(part).items():
        if tensor.data_ptr() in seen:  # tied weights are stored once
            continue
        seen.add(tensor.data_ptr())
        tensors[name] = tensor.detach().to("cpu", DTYPES[dtype] if tensor.is_floating_point() else tensor.dtype)
    path.mkdir()
    part.save_config(path) if is_diffusers else part.config.save_pretrained(path)
    tidy_config(path, {} if is_diffusers else {"dtype": "float32"})
    file = "diffusion_pytorch_model.safetensors" if is_diffusers else "model.safetensors"
    write_safetensors(path / file, tensors, {"format": "pt"})


def tidy_config(folder: Path, facts: Mapping[str, str] = MappingProxyType({})) -> None:
    """The model's config.json with these facts, and without the place where its weights lay on this computer."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config | facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def plain_state(part: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The model's own tensors under its own names, whatever adapters PEFT has put around its layers."""
    wrapped = {name for name, module in part.named_modules() if hasattr(module, "base_layer")}
    tensors = {}
    for name, tensor in part.state_dict().items():
        pieces = name.split(".")
        owner = next((length for length in range(1, len(pieces)) if ".".join(pieces[:length]) in wrapped), None)
        if owner is None:
            tensors[name] = tensor
        elif pieces[owner] == "base_layer":
            tensors[".".join(pieces[:owner] + pieces[owner + 1 :])] = tensor
    return tensors
