"""PixArt-Sigma."""

from __future__ import annotations

import torch
from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

from ..case import Case
from ..parts import t5, tokenizer
from .sd import unshifted_vae


def pixart_sigma() -> PixArtSigmaPipeline:
    torch.manual_seed(0)
    transformer = PixArtTransformer2DModel(
        num_layers=2, attention_head_dim=8, num_attention_heads=4, cross_attention_dim=32, caption_channels=32, sample_size=32,
        interpolation_scale=2, use_additional_conditions=False,
    )  # fmt: skip
    return PixArtSigmaPipeline(tokenizer(64), t5(), unshifted_vae(), transformer, DPMSolverMultistepScheduler())


CASES = [
    # its pipeline reads no LoRA
    Case(
        "pixart sigma", "pixart_sigma", pixart_sigma, targets=20, guided=4.5, reads=(), arguments={"use_resolution_binning": False},
    ),
]  # fmt: skip
