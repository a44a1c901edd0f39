"""Ideogram 4."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Ideogram4Pipeline, Ideogram4Transformer2DModel
from einops import rearrange
from transformers import Qwen3VLModel

from ..case import Case
from ..parts import CHAT
from .krea2 import qwen3_vl
from .qwen import tokenizer


def ideogram4() -> Ideogram4Pipeline:
    """Two transformers of equal size, in which words count for something, and features of two layers of the text encoder."""
    torch.manual_seed(0)
    transformer, unconditional = (
        Ideogram4Transformer2DModel(
            in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4, intermediate_size=48, adaln_dim=16,
            llm_features_dim=32, mrope_section=(2, 1, 1),
        )
        for _ in range(2)
    )  # fmt: skip
    with torch.no_grad():
        for name, weight in transformer.named_parameters():
            if name.endswith(("adaln_modulation.weight", "llm_cond_proj.weight", "to_q.weight", "to_k.weight")):
                weight.normal_(std=0.5)
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(4, 8),
        layers_per_block=1, latent_channels=4, norm_num_groups=1, sample_size=64,
    )  # fmt: skip
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    words = tokenizer()
    words.chat_template = CHAT
    encoder = Qwen3VLModel(qwen3_vl(layers=3))
    return Ideogram4Pipeline(FlowMatchEulerDiscreteScheduler(), vae, encoder, words, transformer, unconditional)


CASES = [
    Case(
        "ideogram 4", "ideogram4", ideogram4, targets=14, reads=("diffusers", "comfyui"),
        unpack=lambda tokens, height, width: rearrange(tokens, "b (h w) (p q c) -> b c (h p) (w q)", h=height // 2, w=width // 2, p=2, q=2),
        arguments={"guidance_schedule": None},
        patches={"diffusers.pipelines.ideogram4.pipeline_ideogram4.QWEN3_VL_ACTIVATION_LAYERS": (0, 2)},
    ),
]  # fmt: skip
