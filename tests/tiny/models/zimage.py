"""Z-Image."""

from __future__ import annotations

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

from ..case import Case
from ..parts import CHAT, qwen3, tokenizer, vae


def zimage() -> ZImagePipeline:
    torch.manual_seed(0)
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16,
        axes_dims=[4, 6, 6], axes_lens=[128, 64, 64],
    )  # fmt: skip
    words = tokenizer(64)
    words.chat_template = CHAT
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return ZImagePipeline(scheduler, vae(4), qwen3(2), words, transformer)


CASES = [Case("z-image", "zimage", zimage, targets=14, guided=3.0, reads=("diffusers", "comfyui"))]
