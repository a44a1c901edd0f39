"""LoRA files: written so that equal tensors give equal bytes, and put into a pipeline to draw with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import JobError
from ..families.base import ModelFamily
from ..jobs import Dtype
from ..runs.safe import write_safetensors
from ..runtime.device import DTYPES
from .formats import ADAPTER_METADATA, Form, adapter_metadata, from_any, to_form
from .layers import split

PIPELINE_ADAPTER = "lora"


def write_lora(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    dtype: Dtype | torch.dtype,
    form: Form,
    family: str | None,
) -> None:
    """Canonical tensors as a file of this form. ``path`` is written directly: see ``runs.atomic``."""
    named = to_form(tensors, form, family)
    kind = dtype if isinstance(dtype, torch.dtype) else DTYPES[dtype]
    # an alpha is a setting and not a weight: it stays exact
    stored = {name: tensor if name.endswith(".alpha") else tensor.to(kind) for name, tensor in named.items()}
    texts = {key: value for key, value in metadata.items() if key != ADAPTER_METADATA} | {"format": "pt"}
    write_safetensors(path, stored, texts | (adapter_metadata(tensors) if form == "diffusers" else {}))


def load_lora(family: ModelFamily, path: Path) -> list[str]:
    """Puts a LoRA file of any form into the pipeline, as adapter "lora". Returns the parts that were left out.

    Only the denoiser gets it: when pictures are drawn, prompts are encoded already.
    """
    tensors = from_any(path)
    prefix = f"{family.denoiser_part}."
    ours = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not ours:
        raise JobError(
            f"{path.name} has nothing for the {family.denoiser_part} of {family.name}.",
            "It was made for another model family.",
        )
    _check(family.denoiser, {name.removeprefix(prefix): tensor for name, tensor in ours.items()}, path.name)
    family.pipe.load_lora_weights(to_form(ours, "diffusers", family.name), adapter_name=PIPELINE_ADAPTER)
    return sorted({name.split(".")[0] for name in tensors} - {family.denoiser_part})


def _check(denoiser: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Stock diffusers only warns of layers that it does not find."""
    modules = dict(denoiser.named_modules())
    for path, layer in split(tensors).items():
        weight = getattr(modules.get(path), "weight", None)
        if weight is None:
            raise JobError(
                f"{name} has the layer {path}, which this model has not.",
                "It was made for another model family.",
            )
        if isinstance(modules[path], nn.Linear):
            shape = (modules[path].out_features, modules[path].in_features)
            if shape != (layer.up.shape[0], layer.down.shape[1]):
                raise JobError(
                    f"{name} was made for another base model: {path} does not have its size.",
                    "Choose the base model that it was trained on.",
                )
