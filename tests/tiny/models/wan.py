"""Wan 2.1 and 2.2."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanPipeline, WanTransformer3DModel
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from engine.families.wan import from_a_frame

from ..case import Case
from ..parts import tokenizer


def transformer(channels: int, extra: int = 0, **more: Any) -> WanTransformer3DModel:
    """``extra``: channels that tell of the first frame."""
    return WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=channels + extra, out_channels=channels, text_dim=16, freq_dim=16,
        ffn_dim=32, num_layers=2, **more,
    )  # fmt: skip


def parts(**more: Any) -> dict[str, Any]:
    """Of a tiny Wan 2.1: a VAE that makes one latent of 4 x 4 pixels in two frames."""
    torch.manual_seed(0)
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[False, True], scale_factor_spatial=4,
        scale_factor_temporal=2, latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.7, 1.0, 2.0],
    )  # fmt: skip
    text = UMT5EncoderModel(UMT5Config(d_model=16, d_ff=24, d_kv=8, num_heads=2, num_layers=2, vocab_size=200))
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return {"tokenizer": tokenizer(512), "text_encoder": text, "vae": vae, "scheduler": scheduler, **more}


def wan21() -> WanPipeline:
    return WanPipeline(**parts(), transformer=transformer(4))


def wan21_i2v() -> WanImageToVideoPipeline:
    made = parts()
    vision = CLIPVisionModel(
        CLIPVisionConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    )
    pictures = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    return WanImageToVideoPipeline(
        **made, transformer=transformer(4, 6, image_dim=16, added_kv_proj_dim=24), image_encoder=vision, image_processor=pictures
    )


def wan22_5b() -> WanPipeline:
    """Its VAE makes one latent of 8 x 8 pixels in two frames."""
    made = parts(expand_timesteps=True)
    made["vae"] = AutoencoderKLWan(
        base_dim=4, decoder_base_dim=4, z_dim=4, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[False, True],
        is_residual=True, in_channels=12, out_channels=12, patch_size=2, scale_factor_spatial=8, scale_factor_temporal=2,
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.7, 1.0, 2.0],
    )  # fmt: skip
    return WanPipeline(**made, transformer=transformer(4))


def wan22_14b() -> WanPipeline:
    made = parts(boundary_ratio=0.875)
    return WanPipeline(**made, transformer=transformer(4), transformer_2=transformer(4))


def wan22_14b_i2v() -> WanImageToVideoPipeline:
    made = parts(boundary_ratio=0.9)
    return WanImageToVideoPipeline(**made, transformer=transformer(4, 6), transformer_2=transformer(4, 6))


COMMON: dict[str, Any] = {"guided": 3.0, "frames": 5, "latents": (8, 12), "reads": ("diffusers", "comfyui"), "targets": 20}
TWO = {**COMMON, "targets": 40}
LONG = {"max_sequence_length": 512}  # what comes before the last 512 tokens is taken for a picture

CLEAN = {"diffusers.pipelines.wan.pipeline_wan_i2v.prompt_clean": prompt_clean}  # theirs needs ftfy, and does not ask for it

CASES = [
    Case("wan 2.1", "wan21", wan21, **COMMON),
    Case("wan 2.1 i2v", "wan21_i2v", wan21_i2v, controls=1, defaults=LONG, patches=CLEAN, **{**COMMON, "targets": 24}),
    Case("wan 2.2 5b", "wan22_5b", wan22_5b, **{**COMMON, "latents": (4, 6)}),
    Case("wan 2.2 5b from a frame", "wan22_5b", wan22_5b, controls=1, drawn_by=from_a_frame, patches=CLEAN, **{**COMMON, "latents": (4, 6)}),
    Case("wan 2.2 14b", "wan22_14b", wan22_14b, **TWO),
    Case("wan 2.2 14b i2v", "wan22_14b_i2v", wan22_14b_i2v, controls=1, patches=CLEAN, **TWO),
]
