"""Names that only stock diffusers' converters know. Tried with diffusers 0.42."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import JobError
from .layers import Update, is_lora, split, with_unit_scale


def by_diffusers(tensors: Mapping[str, Tensor], name: str) -> dict[str, Update]:
    """Layers of FLUX under XLabs' names."""
    from diffusers import FluxPipeline

    # it forgets the alpha of some layers, so the scale is taken out before
    source = with_unit_scale(tensors)
    try:
        with torch.no_grad():
            converted = FluxPipeline.lora_state_dict(source)
    except (ValueError, KeyError, AssertionError, NotImplementedError, RuntimeError) as error:
        raise JobError(
            f"{name} has names that no rule knows, for example {next(iter(tensors))}.",
            "It may belong to another model family.",
        ) from error
    return split({key: tensor for key, tensor in converted.items() if is_lora(key)})
