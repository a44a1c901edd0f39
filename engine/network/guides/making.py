"""From the adapter section of a job to a guide beside the denoiser."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ...families.base import ModelFamily
from ...jobs.adapters import Guide, none_for
from .base import Listener
from .control_lora import ControlLoraNetwork
from .control_net import FluxControl, SD3Control, UNetControl
from .ip import IpNetwork
from .redux import ReduxNetwork
from .t2i import T2iNetwork

GUIDES: Mapping[str, Mapping[str, type[Listener]]] = {
    "control_net": {"UNet2DConditionModel": UNetControl, "SD3Transformer2DModel": SD3Control, "FluxTransformer2DModel": FluxControl},
    "t2i": {"UNet2DConditionModel": T2iNetwork},
    "control_lora": {"FluxTransformer2DModel": ControlLoraNetwork},
    "ip": {"UNet2DConditionModel": IpNetwork},
    "redux": {"FluxTransformer2DModel": ReduxNetwork},
}
"""adapter.type → class of the denoiser → what is trained beside it."""


def guide_for(settings: Guide, family: ModelFamily) -> type[Listener]:
    """What is trained beside this model. JobError where there is nothing of the kind for it."""
    denoiser = family.pipeline_class.load_config(family.folder)[family.denoiser_part][1]
    return _guide(settings, type(family), denoiser, family.title)


def guide_size(settings: Guide, family: type[ModelFamily], denoiser: nn.Module) -> int:
    """How many numbers it trains beside this denoiser, which may have no memory for its weights."""
    vae_scale = 8  # of all models that people use
    return _guide(settings, family, type(denoiser).__name__, family.name).size(settings, family, denoiser, vae_scale)


def _guide(settings: Guide, family: type[ModelFamily], denoiser: str, title: str) -> type[Listener]:
    known = GUIDES[settings.type]
    if denoiser not in known or family.max_controls or family.is_video:
        raise none_for(settings.type, title)
    return known[denoiser]


def attach_guide(
    settings: Guide, family: ModelFamily, device: torch.device, dtype: torch.dtype, seed: int, checkpointing: bool
) -> Listener:
    """The guide, new or loaded, on the device. The denoiser is loaded already, and frozen. The same seed gives the same first weights."""
    return guide_for(settings, family).attached(settings, family, device, dtype, seed, checkpointing)
