"""Chroma Radiance."""

from __future__ import annotations

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from engine.families.radiance_pipeline import RadiancePipeline
from engine.families.radiance_transformer import RadianceTransformer2DModel

from ..case import Case
from ..parts import t5, tokenizer


def radiance() -> RadiancePipeline:
    torch.manual_seed(0)
    transformer = RadianceTransformer2DModel(
        num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8), approximator_num_channels=8, approximator_hidden_dim=32, approximator_layers=1,
        pixel_patch_size=8, field_features=8, field_ratio=2, field_layers=2, field_frequencies=4,
    )  # fmt: skip
    return RadiancePipeline(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), t5(), tokenizer(64), transformer)


CASES = [Case("radiance", "chroma_radiance", radiance, targets=10, guided=3.0, width=64, height=32, latents=(32, 64))]
