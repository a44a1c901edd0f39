"""One part of a pipeline from its files: a folder in diffusers layout, or a single .safetensors beside a config.

Tried with diffusers 0.42 and transformers 5.23, whose converters know the names of the original models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import ModelMixin
from diffusers.loaders import single_file_model
from diffusers.loaders.single_file_utils import SingleFileComponentError, create_diffusers_clip_model_from_ldm
from torch import nn

from ..errors import JobError
from ..families.sources import Source
from ..runs.safe import read_safetensors

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.", "unet.", "vae.")
"""What programs put before diffusers' own names."""
QUANTIZED = (".scale_weight", ".weight_scale", ".comfy_quant", "scaled_fp8", ".absmax", ".qweight")
"""Ends of names in files whose weights another program has quantized."""


def read_part(kind: Any, source: Source, dtype: torch.dtype) -> nn.Module:
    """The part, on the CPU. Raises ValueError, KeyError, RuntimeError or OSError where the files do not fit."""
    if source.file is None:
        return kind.from_pretrained(source.config, dtype=dtype, local_files_only=True)
    names = names_in(source.file)
    refuse_quantized(source.file, names)
    if not issubclass(kind, ModelMixin):
        return _read_text_encoder(kind, source, dtype)
    own = set(_empty(kind, source.config, source.file).state_dict())
    prefix = next((prefix for prefix in ("", *PREFIXES) if own <= {name.removeprefix(prefix) for name in names}), None)
    if prefix is not None:
        return _filled(kind, source, prefix, dtype)
    if single_file_model._get_single_file_loadable_mapping_class(kind) is None:
        raise ValueError(f"its names are not those of diffusers' {kind.__name__}, for example {sorted(names)[0]}")
    try:
        part = kind.from_single_file(str(source.file), config=str(source.config), dtype=dtype, local_files_only=True)
    except (SingleFileComponentError, AttributeError, TypeError, IndexError) as error:
        raise ValueError(str(error) or "its names are not known") from error
    return _whole(part)


def empty_part(kind: Any, source: Source) -> nn.Module:
    """The part without memory for its weights; buffers that are computed are there."""
    return _empty(kind, source.config, source.file).eval()


def refuse_quantized(file: Path, names: Iterable[str]) -> None:
    """A JobError where the names in a file say that its weights are in few bits."""
    if odd := next((name for name in names if name.endswith(QUANTIZED)), None):
        raise JobError(
            f"{file.name} was quantized by another program: it has {odd}.",
            "Use a version of it in bf16 or fp16, and set model.quantize.",
        )


def names_in(file: Path) -> set[str]:
    """Names of the tensors in a file; reads only its header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as tensors:
            return set(tensors.keys())
    except SafetensorError as error:
        raise JobError(f"{file} cannot be read: {error}.", "The download or copy did not finish: get the file again.") from error


def is_whole(file: Path) -> bool:
    """Whether a file is a whole checkpoint: denoiser, autoencoder and text encoders in one."""
    names = names_in(file)
    return all(
        any(name.startswith(prefixes) for name in names)
        for prefixes in (("model.diffusion_model.",), ("first_stage_model.",), ("cond_stage_model.", "conditioner.embedders."))
    )


def fits(kind: Any, source: Source, like: Path | None = None) -> bool:
    """Whether a file has the names of a text encoder of this kind and size, or a folder the same kind of config as ``like``."""
    if source.file is None:
        return like is not None and _model_type(source.config) == _model_type(like)
    try:
        _read_text_encoder(kind, source, torch.float32, probe=True)
    except (ValueError, RuntimeError, KeyError):
        return False
    return True


def _model_type(folder: Path) -> str:
    return str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type"))


def _empty(kind: Any, config: Path, file: Path | None = None) -> nn.Module:
    """A class with ``told_by`` finds some of its settings in the names of its file's tensors."""
    with init_empty_weights():
        if issubclass(kind, ModelMixin):
            told = kind.told_by(names_in(file)) if file and hasattr(kind, "told_by") else {}
            return kind.from_config(kind.load_config(config, local_files_only=True), **told)
        return kind._from_config(kind.config_class.from_pretrained(config, local_files_only=True))


def _filled(kind: Any, source: Source, prefix: str, dtype: torch.dtype) -> nn.Module:
    assert source.file
    part = _empty(kind, source.config, source.file)
    own = part.state_dict()
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for full, tensor in read_safetensors(source.file).items()
        if (name := full.removeprefix(prefix)) in own
    }
    part.load_state_dict(tensors, assign=True)
    return _whole(part)


def _read_text_encoder(kind: Any, source: Source, dtype: torch.dtype, probe: bool = False) -> nn.Module:
    """With ``probe``, without memory: only whether names and sizes fit."""
    assert source.file
    names = names_in(source.file)
    if any(name.startswith(("cond_stage_model.", "conditioner.embedders.")) for name in names):
        return _whole(
            create_diffusers_clip_model_from_ldm(
                kind, read_safetensors(source.file), "", str(source.config), dtype, local_files_only=True
            ).to(dtype)
        )
    tensors = _shapes(source.file) if probe else read_safetensors(source.file)
    config = kind.config_class.from_pretrained(source.config, local_files_only=True)
    own = {name: tensor.shape for name, tensor in _empty(kind, source.config).state_dict().items()}
    tensors = _as_named(tensors, set(own))
    if wrong := next((name for name, tensor in tensors.items() if name in own and own[name] != tensor.shape), None):
        raise ValueError(f"{wrong} has another size")
    tied = {"encoder.embed_tokens.weight", "shared.weight"}
    if lost := sorted(set(own) - set(tensors) - tied):
        raise ValueError(f"it has no {lost[0]}")
    if probe:
        return nn.Module()
    return kind.from_pretrained(None, config=config, state_dict=tensors, dtype=dtype)


def _as_named(tensors: dict[str, Any], own: set[str]) -> dict[str, Any]:
    """The tensors under the model's names: releases of transformers differ in the prefix text_model."""
    for change in (lambda name: name, lambda name: name.removeprefix("text_model."), lambda name: f"text_model.{name}"):
        changed = {change(name): tensor for name, tensor in tensors.items()}
        if len(own & set(changed)) >= len(own) - 2:
            return changed
    raise ValueError(f"its names are not those of this text encoder, for example {sorted(tensors)[0]}")


def _shapes(file: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as tensors:
        return {name: torch.empty(tensors.get_slice(name).get_shape(), device="meta") for name in tensors.keys()}  # noqa: SIM118


def _whole(part: nn.Module) -> nn.Module:
    if lost := [name for name, tensor in part.named_parameters() if tensor.is_meta]:
        raise ValueError(f"{lost[0]} is not in the file")
    return part
