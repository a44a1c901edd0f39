"""FLUX.2 dev and Klein."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from transformers import Mistral3Config, Mistral3ForConditionalGeneration, Qwen3ForCausalLM
from transformers.models.mistral import MistralConfig
from transformers.models.pixtral import PixtralVisionConfig

from ..case import Case, tokens_2x2
from ..parts import CHAT, qwen3, tokenizer


def parts(guidance_embeds: bool) -> dict:
    """What both have; text features are three layers of the text encoder beside each other."""
    torch.manual_seed(0)
    transformer = Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=48,
        timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=guidance_embeds,
    )  # fmt: skip
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, block_out_channels=(4, 8, 8),
        layers_per_block=1, latent_channels=4, norm_num_groups=1, sample_size=64,
    )  # fmt: skip
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    words = tokenizer(192)
    words.chat_template = CHAT
    return {"scheduler": FlowMatchEulerDiscreteScheduler(), "vae": vae, "tokenizer": words, "transformer": transformer}


def flux2() -> Flux2Pipeline:
    shared = parts(True)
    text = MistralConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=31, num_attention_heads=2, num_key_value_heads=1, head_dim=8, vocab_size=200
    )
    vision = PixtralVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
    )
    encoder = Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=vision, image_token_index=3))
    return Flux2Pipeline(text_encoder=encoder, **shared)


def flux2_klein() -> Flux2KleinPipeline:
    return Flux2KleinPipeline(text_encoder=qwen3(28, kind=Qwen3ForCausalLM), **parts(False))


SIZES = {"width": 96, "height": 64, "latents": (16, 24), "unpack": tokens_2x2, "reads": ("diffusers", "comfyui")}  # references: 64 or more
CASES = [
    Case("flux 2", "flux2", flux2, targets=14, controls=2, defaults={"max_sequence_length": 192}, **SIZES),
    Case("flux 2 klein", "flux2_klein", flux2_klein, targets=14, controls=1, guided=3.0, **SIZES),
]
