"""The weights that a guide begins with: those of a folder, or of the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from torch import nn

from ...errors import JobError
from ...families.base import ModelFamily
from ...runtime.loading import plain_part, source_of
from ...runtime.places import fetch_place, find_place

ALIKE = ("cross_attention_dim", "joint_attention_dim", "block_out_channels", "attention_head_dim", "addition_embed_type")
"""Settings that a ControlNet and its model share."""


def plain_denoiser(family: ModelFamily, dtype: torch.dtype) -> nn.Module:
    """One whose weights can be copied: read once more where those in use are quantized, or lie elsewhere."""
    source = source_of(family, family.denoiser_part)
    return plain_part(family, family.denoiser_part, dtype) if source.quantization or source.offload else family.denoiser


def opened(name: str, kind: type[ModelMixin], family: ModelFamily) -> nn.Module:
    """The model of that place, in fp32. JobError where it is of another kind, or for another base model."""
    path = fetch_place(find_place(name, "adapter.name_or_path"), ".")
    config = _config(path, kind)
    of = family.denoiser.config
    if odd := [key for key in ALIKE if key in config and key in of and _plain(config[key]) != _plain(of[key])]:
        raise JobError(
            f"adapter.name_or_path: {name} was made for another model: its {odd[0]} is {config[odd[0]]}, not {of[odd[0]]}.",
            "Choose another, or leave it out for a new one.",
        )
    if config.get("num_mode") is not None or config.get("conditioning_embedding_channels") is not None:
        raise JobError(
            f"adapter.name_or_path: {name} is a ControlNet of several modes, or one of XLabs, which cannot be trained here.",
            "Choose another, or leave it out for a new one.",
        )
    try:
        return kind.from_pretrained(path, dtype=torch.float32, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise JobError(
            f"adapter.name_or_path: {name} cannot be loaded: {error}", "Its files may be incomplete: download them again."
        ) from error


def _config(path: Path, kind: type[ModelMixin]) -> Mapping[str, Any]:
    wanted = kind.__name__
    if path.is_dir() and (path / "config.json").is_file():
        config = kind.load_config(path)
        if config.get("_class_name") == wanted:
            return config
    raise JobError(f"adapter.name_or_path: {path} is no {wanted}.", "Give a folder in diffusers layout with its config.json.")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
