"""Krea 2."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, Krea2Pipeline, Krea2Transformer2DModel
from transformers import Qwen3VLConfig, Qwen3VLModel

from ..case import Case, tokens_2x2
from .qwen import tokenizer


def qwen3_vl(layers: int) -> Qwen3VLConfig:
    return Qwen3VLConfig(
        text_config={
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": layers, "num_attention_heads": 2, "num_key_value_heads": 1,
            "head_dim": 8, "vocab_size": 300, "max_position_embeddings": 4096, "bos_token_id": 0, "eos_token_id": 2,
            "rope_scaling": {"rope_type": "default", "mrope_section": [2, 1, 1]},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 16, "deepstack_visual_indexes": [0],
        },
        vision_start_token_id=3, vision_end_token_id=4, image_token_id=5, video_token_id=6,
    )  # fmt: skip


def krea2() -> Krea2Pipeline:
    torch.manual_seed(0)
    transformer = Krea2Transformer2DModel(
        in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4, num_key_value_heads=2, intermediate_size=24,
        timestep_embed_dim=8, text_hidden_dim=16, num_text_layers=2, text_num_attention_heads=2, text_num_key_value_heads=2,
        text_intermediate_size=24, num_layerwise_text_blocks=1, num_refiner_text_blocks=1, axes_dims_rope=(4, 2, 2),
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=4, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.7, 1.0, 2.0],
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return Krea2Pipeline(scheduler, vae, Qwen3VLModel(qwen3_vl(layers=3)), tokenizer(), transformer, text_encoder_select_layers=(1, 3))


CASES = [
    Case(
        "krea 2", "krea2", krea2, targets=16, guided=3.5, unpack=tokens_2x2, reads=("diffusers", "comfyui"),
        defaults={"max_sequence_length": 256},  # a token a letter, and the pipeline puts its own words in front
    ),
]  # fmt: skip
