"""ERNIE-Image."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLFlux2, ErnieImagePipeline, ErnieImageTransformer2DModel, FlowMatchEulerDiscreteScheduler
from tokenizers import processors
from transformers import Mistral3Config, Mistral3Model
from transformers.models.ministral3 import Ministral3Config
from transformers.models.pixtral import PixtralVisionConfig

from ..case import Case
from ..parts import tokenizer


def ernie_image() -> ErnieImagePipeline:
    """Parts of the real model begin with zeros, behind which nothing would be seen."""
    torch.manual_seed(0)
    transformer = ErnieImageTransformer2DModel(
        hidden_size=32, num_attention_heads=2, num_layers=2, ffn_hidden_size=48, in_channels=16, out_channels=16, text_in_dim=16,
        rope_axes_dim=(4, 6, 6),
    )  # fmt: skip
    with torch.no_grad():
        for weight in transformer.parameters():
            if not weight.any():
                weight.normal_(std=0.1)
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, block_out_channels=(4, 8, 8),
        layers_per_block=1, latent_channels=4, norm_num_groups=1, sample_size=64,
    )  # fmt: skip
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    text = Ministral3Config(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8, vocab_size=200
    )
    vision = PixtralVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
    )
    encoder = Mistral3Model(Mistral3Config(text_config=text, vision_config=vision, image_token_index=3))
    words = tokenizer(64)
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
    return ErnieImagePipeline(transformer, vae, encoder, words, FlowMatchEulerDiscreteScheduler(shift=3.0))


CASES = [
    Case(
        "ernie image", "ernie_image", ernie_image, targets=14, guided=4.0, width=96, height=64, latents=(8, 12),
        reads=("diffusers", "comfyui"),
    ),
]  # fmt: skip
