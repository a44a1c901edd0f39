"""Lumina-Image 2.0."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel
from tokenizers import processors
from transformers import Gemma2Config, Gemma2Model

from ..case import Case
from ..parts import tokenizer


def lumina2() -> Lumina2Pipeline:
    """Three heads of queries share one of keys and values, as in the real one; its pipeline takes for granted that the VAE divides by 8."""
    torch.manual_seed(0)
    transformer = Lumina2Transformer2DModel(
        in_channels=4, hidden_size=48, num_layers=1, num_refiner_layers=1, num_attention_heads=3, num_kv_heads=1, multiple_of=8,
        axes_dim_rope=(4, 6, 6), axes_lens=(300, 64, 64), cap_feat_dim=16,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(4,) * 4, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1, latent_channels=4, norm_num_groups=1, use_quant_conv=False, use_post_quant_conv=False,
        shift_factor=0.06, scaling_factor=1.5,
    )  # fmt: skip
    encoder = Gemma2Model(
        Gemma2Config(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8, vocab_size=200
        )
    )
    words = tokenizer(256)  # with a first token, so that there is something even where there are no words
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
    return Lumina2Pipeline(transformer, FlowMatchEulerDiscreteScheduler(shift=6.0), vae, encoder, words)


CASES = [
    Case(
        "lumina 2", "lumina2", lumina2, targets=21, guided=4.0, width=96, height=64, latents=(8, 12), defaults={"max_sequence_length": 224},
    ),
]  # fmt: skip
