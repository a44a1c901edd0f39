"""Chroma."""

from __future__ import annotations

import torch
from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler

from ..case import Case, tokens_2x2
from ..parts import t5, tokenizer, vae


def chroma() -> ChromaPipeline:
    torch.manual_seed(0)
    transformer = ChromaTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, axes_dims_rope=[4, 4, 8], approximator_num_channels=8, approximator_hidden_dim=32, approximator_layers=1,
    )  # fmt: skip
    return ChromaPipeline(FlowMatchEulerDiscreteScheduler(), vae(1), t5(), tokenizer(64), transformer)


def hiding(pipe: ChromaPipeline) -> None:
    """Its mask hides tokens instead of weighing them."""
    encode = pipe._get_t5_prompt_embeds

    def encode_and_hide(*arguments, **named):
        embeds, mask = encode(*arguments, **named)
        return embeds, mask.bool()

    pipe._get_t5_prompt_embeds = encode_and_hide


CASES = [Case("chroma", "chroma", chroma, unpack=tokens_2x2, targets=17, guided=3.0, mend=hiding)]
