"""OmniGen2."""

from __future__ import annotations

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from engine.families.omnigen2_pipeline import OmniGen2Pipeline
from engine.families.omnigen2_transformer import OmniGen2Transformer2DModel

from ..case import Case
from ..parts import vae
from .qwen import text_encoder, tokenizer


def omnigen2() -> OmniGen2Pipeline:
    """Three heads of queries share one of keys and values, as in the real one."""
    torch.manual_seed(0)
    transformer = OmniGen2Transformer2DModel(
        in_channels=4, hidden_size=48, num_layers=2, num_refiner_layers=1, num_attention_heads=3, num_kv_heads=1, multiple_of=8,
        axes_dim_rope=(4, 6, 6), text_feat_dim=16,
    )  # fmt: skip
    return OmniGen2Pipeline(transformer, vae(4), FlowMatchEulerDiscreteScheduler(), text_encoder(), tokenizer())


DEFAULTS = {"max_sequence_length": 256}  # a token a letter, and the model's own words stand before them

CASES = [
    Case("omnigen 2", "omnigen2", omnigen2, targets=28, guided=4.0, defaults=DEFAULTS),
    Case("omnigen 2 edit", "omnigen2", omnigen2, targets=28, guided=4.0, controls=2, defaults=DEFAULTS),
]
