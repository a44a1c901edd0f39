"""HiDream E1: HiDream I1 that is shown a picture to the right of the one that it draws."""

from __future__ import annotations

import torch

from .base import controls_in, cut_to_size
from .hidream import HiDream
from .hidream_edit_pipeline import HiDreamImageEditingPipeline, make_room


class HiDreamEdit(HiDream):
    name = "hidream_e1"
    pipeline_class = HiDreamImageEditingPipeline
    min_controls = max_controls = 1
    # what E1.1 takes; E1-Full has max_seq 4608 and image_guidance_scale 4.0
    kwargs = {**HiDream.kwargs, "max_seq": 0, "image_guidance_scale": 1.5}

    def predict(self, noisy, sigma, cond):
        make_room(self.denoiser, self.kwargs["max_seq"])
        return super().predict(torch.cat([noisy, *controls_in(cond)], -1), sigma, cond)[..., : noisy.shape[-1]]

    def guidance(self, request):
        told = {"image_guidance_scale": self.kwargs["image_guidance_scale"], "max_seq": self.kwargs["max_seq"]}
        return {"guidance_scale": request.guidance, **told}

    def sample(self, cond, negative, request, pictures=(), **more):
        pictures = cut_to_size(pictures, request)
        return super().sample(cond, negative, request, pictures, **more)
