"""FLUX.1."""

from __future__ import annotations

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

from ..case import Case, tokens_2x2
from ..parts import clip, t5, tokenizer, vae


def flux(guidance_embeds: bool = False, layers: int = 1) -> FluxPipeline:
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=layers, num_single_layers=layers, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=[4, 4, 8], guidance_embeds=guidance_embeds,
    )  # fmt: skip
    return FluxPipeline(
        FlowMatchEulerDiscreteScheduler(), vae(1), clip(), tokenizer(64), t5(), tokenizer(64), transformer
    )


CASES = [
    Case("flux", "flux", flux, unpack=tokens_2x2, targets=17, guided=3.0),
    Case("flux with guidance", "flux", lambda: flux(guidance_embeds=True), unpack=tokens_2x2, targets=17),
]
