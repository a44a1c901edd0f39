"""ControlNets of the models that diffusers has a pipeline with one for. Tried with diffusers 0.42."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from diffusers import ControlNetModel, FluxControlNetModel, SD3ControlNetModel
from diffusers.configuration_utils import FrozenDict
from torch import nn

from ...errors import JobError
from ...families.base import ModelFamily
from ...families.layout import pack
from ...jobs.adapters import ControlNet
from .base import GuideNetwork, Keywords, repeated

WIDTHS = (16, 32, 96, 256)
"""Channels of the layers that make a control picture as small as the latents: each after the first halves it once."""


class UNetControl(GuideNetwork):
    """Of Stable Diffusion 1.5 to XL."""

    kind = ControlNetModel
    takes = "pixels"

    @staticmethod
    def new(settings: ControlNet, denoiser: nn.Module, vae_scale: int) -> nn.Module:
        halvings = vae_scale.bit_length() - 1
        return ControlNetModel.from_unet(denoiser, conditioning_embedding_out_channels=WIDTHS[: halvings + 1])

    def answer(self, args: tuple[Any, ...], keywords: Keywords) -> dict[str, Any]:
        sample, time = args[:2]
        picture = (self._shown[0] + 1) / 2  # pipelines show it in [0, 1]
        down, mid = self.model(
            sample, time, encoder_hidden_states=keywords["encoder_hidden_states"], controlnet_cond=repeated(picture, sample),
            conditioning_scale=self.strength, added_cond_kwargs=keywords.get("added_cond_kwargs"), return_dict=False,
        )  # fmt: skip
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}


class FluxControl(GuideNetwork):
    """Of FLUX.1."""

    kind = FluxControlNetModel
    takes = "latents"

    @staticmethod
    def new(settings: ControlNet, denoiser: nn.Module, vae_scale: int) -> nn.Module:
        of = denoiser.config
        layers, single = min(settings.num_layers, of.num_layers), min(settings.num_single_layers, of.num_single_layers)
        return FluxControlNetModel.from_transformer(denoiser, layers, single, of.attention_head_dim, of.num_attention_heads)

    def answer(self, args: tuple[Any, ...], keywords: Keywords) -> dict[str, Any]:
        tokens, told = keywords["hidden_states"], ("timestep", "encoder_hidden_states", "pooled_projections", "img_ids", "txt_ids")
        blocks, single = self.model(
            hidden_states=tokens, controlnet_cond=repeated(pack(self._shown[0]), tokens), conditioning_scale=self.strength,
            guidance=keywords.get("guidance") if self.model.config.guidance_embeds else None, return_dict=False, **{key: keywords[key] for key in told},
        )  # fmt: skip
        return {"controlnet_block_samples": blocks, "controlnet_single_block_samples": single}


class SD3Control(GuideNetwork):
    """Of Stable Diffusion 3 and 3.5."""

    kind = SD3ControlNetModel
    takes = "latents"

    def __init__(self, model: nn.Module, denoiser: nn.Module, device: torch.device, shift: float = 0.0):
        """``shift``: what the autoencoder's normalised latents are lower by; ControlNets of InstantX are shown them without it."""
        if not model.config.use_pos_embed:
            raise JobError(
                "This ControlNet has no embedding of places, and borrows the model's: it cannot be trained here.",
                "Choose another, or a new one.",
            )
        super().__init__(model, denoiser, device)
        self.shift = shift if model.config.force_zeros_for_pooled_projection else 0.0

    @staticmethod
    def new(settings: ControlNet, denoiser: nn.Module, vae_scale: int) -> nn.Module:
        config = FrozenDict({**denoiser.config, "force_zeros_for_pooled_projection": False})
        parts = {name: getattr(denoiser, name) for name in ("pos_embed", "time_text_embed", "context_embedder", "transformer_blocks")}
        layers = min(settings.num_layers, denoiser.config.num_layers - 1)  # the last one has another shape: it answers no text
        # it writes into the config of what it is given
        return SD3ControlNetModel.from_transformer(SimpleNamespace(config=config, **parts), layers, 0)

    @classmethod
    def around(cls, model: nn.Module, family: ModelFamily, device: torch.device) -> SD3Control:
        vae = family.pipe.vae.config
        return cls(model, family.denoiser, device, (vae.shift_factor or 0.0) * vae.scaling_factor)

    def answer(self, args: tuple[Any, ...], keywords: Keywords) -> dict[str, Any]:
        latents, pooled = keywords["hidden_states"], keywords["pooled_projections"]
        (blocks,) = self.model(
            hidden_states=latents, timestep=keywords["timestep"], encoder_hidden_states=keywords["encoder_hidden_states"],
            pooled_projections=torch.zeros_like(pooled) if self.model.config.force_zeros_for_pooled_projection else pooled,
            controlnet_cond=repeated(self._shown[0] + self.shift, latents), conditioning_scale=self.strength, return_dict=False,
        )  # fmt: skip
        return {"block_controlnet_hidden_states": blocks}
