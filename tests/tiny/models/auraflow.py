"""AuraFlow."""

from __future__ import annotations

import torch
from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel, FlowMatchEulerDiscreteScheduler
from transformers import UMT5Config, UMT5EncoderModel

from ..case import Case
from ..parts import tokenizer
from .sd import unshifted_vae


def auraflow() -> AuraFlowPipeline:
    torch.manual_seed(0)
    transformer = AuraFlowTransformer2DModel(
        sample_size=32, in_channels=4, out_channels=4, num_mmdit_layers=1, num_single_dit_layers=2, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=16, caption_projection_dim=32, pos_embed_max_size=256,
    )  # fmt: skip
    encoder = UMT5EncoderModel(UMT5Config(d_model=16, d_ff=24, d_kv=8, num_heads=2, num_layers=2, vocab_size=200))
    return AuraFlowPipeline(tokenizer(64), encoder, unshifted_vae(), transformer, FlowMatchEulerDiscreteScheduler(shift=1.73))


CASES = [Case("auraflow", "auraflow", auraflow, targets=28, guided=3.5)]
