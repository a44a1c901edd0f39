"""FLUX.1 Kontext: FLUX.1 that reads a reference picture, whose tokens follow those of the picture that is made."""

from __future__ import annotations

import torch
from diffusers import FluxKontextPipeline

from .base import controls_in, cut_to_size
from .flux import Flux


class FluxKontext(Flux):
    name = "flux_kontext"
    pipeline_class = FluxKontextPipeline
    max_controls = 1

    def image_tokens(self, latents, cond):
        tokens, ids = super().image_tokens(latents, cond)
        for control in controls_in(cond):
            more, places = super().image_tokens(control, cond)
            places[:, 0] = 1  # the same places on another sheet
            tokens, ids = torch.cat([tokens, more], 1), torch.cat([ids, places])
        return tokens, ids

    def sample(self, cond, negative, request, pictures=(), **more):
        # by itself the pipeline changes the size of both; references are cut as in training
        pictures = cut_to_size(pictures, request)
        area = request.width * request.height
        return super().sample(cond, negative, request, pictures, max_area=area, _auto_resize=False, **more)
