"""A Redux adapter of FLUX.1: a picture becomes tokens behind those of the prompt. Tried with diffusers 0.42."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from torch import nn

from ...jobs.adapters import Redux
from .base import GuideNetwork, Keywords, repeated
from .eyes import Eye


class ReduxNetwork(GuideNetwork):
    """The image_embedder of ``FluxPriorReduxPipeline``."""

    kind = ReduxImageEncoder
    takes = "looks"
    sight = "siglip"
    part = "image_embedder"

    @staticmethod
    def new(settings: Redux, denoiser: nn.Module, vae_scale: int) -> nn.Module:
        return ReduxImageEncoder(Eye(settings.image_encoder_path, "siglip").width, denoiser.config.joint_attention_dim)

    def answer(self, args: tuple[Any, ...], keywords: Keywords) -> dict[str, Any]:
        text, places = keywords["encoder_hidden_states"], keywords["txt_ids"]
        seen = repeated(self.model(self._shown[0]).image_embeds, text) * self.strength
        return {
            "encoder_hidden_states": torch.cat([text, seen.to(text)], 1),
            "txt_ids": torch.cat([places, places.new_zeros(seen.shape[1], 3)]),
        }
