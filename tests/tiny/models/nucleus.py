"""Nucleus-Image."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    NucleusMoEImagePipeline,
    NucleusMoEImageTransformer2DModel,
)
from transformers import Qwen3VLForConditionalGeneration

from ..case import Case, tokens_2x2
from ..parts import CHAT
from .krea2 import qwen3_vl
from .qwen import tokenizer


def nucleus() -> NucleusMoEImagePipeline:
    """One dense block and one of experts, whose weights the class leaves as they happen to lie in memory."""
    torch.manual_seed(0)
    transformer = NucleusMoEImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=4, num_key_value_heads=2,
        joint_attention_dim=16, axes_dims_rope=(4, 6, 6), dense_moe_strategy="leave_first_block_dense", num_experts=4,
        moe_intermediate_dim=16, capacity_factors=2.0,
    )  # fmt: skip
    with torch.no_grad():
        for name, weight in transformer.named_parameters():
            if ".experts." in name:
                weight.normal_(std=0.1)
    vae = AutoencoderKLQwenImage(
        base_dim=4, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.7, 1.0, 2.0],
    )  # fmt: skip
    words = tokenizer()
    words.chat_template = CHAT
    encoder = Qwen3VLForConditionalGeneration(qwen3_vl(layers=8))
    return NucleusMoEImagePipeline(transformer, FlowMatchEulerDiscreteScheduler(), vae, encoder, words)


CASES = [
    # its pipeline reads no LoRA
    Case(
        "nucleus image", "nucleus_image", nucleus, targets=16, guided=4.0, unpack=tokens_2x2, reads=(),
        defaults={"max_sequence_length": 384},  # a token a letter, and the pipeline puts its own words in front
    ),
]  # fmt: skip
