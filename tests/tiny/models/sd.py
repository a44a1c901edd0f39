"""Stable Diffusion: 1.5, 2.1, XL and 3.5."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModelWithProjection

from ..case import Case
from ..parts import clip, t5, tokenizer, vae

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def projected() -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(clip().config)


def unshifted_vae() -> AutoencoderKL:
    return AutoencoderKL.from_config(vae(4).config, shift_factor=None, use_quant_conv=True, use_post_quant_conv=True)


def unet(text: int, attended: tuple[bool, ...], **settings: object) -> UNet2DConditionModel:
    """As many blocks as the real one has, since files number them; ``attended`` are those on the way down."""
    down = tuple("CrossAttnDownBlock2D" if each else "DownBlock2D" for each in attended)
    up = tuple("CrossAttnUpBlock2D" if each else "UpBlock2D" for each in reversed(attended))
    return UNet2DConditionModel(
        block_out_channels=(8,) * len(attended), down_block_types=down, up_block_types=up, cross_attention_dim=text,
        attention_head_dim=4, norm_num_groups=2, sample_size=16, **settings,
    )  # fmt: skip


def sd_unet(**settings: object) -> UNet2DConditionModel:
    return unet(32, (True, True, True, False), layers_per_block=1, **settings)


def sd15() -> StableDiffusionPipeline:
    torch.manual_seed(0)
    scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    return StableDiffusionPipeline(
        unshifted_vae(), clip(), tokenizer(64), sd_unet(), scheduler, None, None, requires_safety_checker=False
    )


def sd21() -> StableDiffusionPipeline:
    torch.manual_seed(0)
    scheduler = DDIMScheduler(
        **SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="v_prediction"
    )
    model = sd_unet(use_linear_projection=True)
    return StableDiffusionPipeline(unshifted_vae(), clip(), tokenizer(64), model, scheduler, None, None, requires_safety_checker=False)


def sdxl() -> StableDiffusionXLPipeline:
    torch.manual_seed(0)
    model = unet(
        64, (False, True, True), use_linear_projection=True, transformer_layers_per_block=(1, 1, 2), addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 32,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(**SCHEDULE, steps_offset=1, timestep_spacing="leading")
    return StableDiffusionXLPipeline(unshifted_vae(), clip(), projected(), tokenizer(64), tokenizer(64), model, scheduler)


def sd3(dual: tuple[int, ...] = ()) -> StableDiffusion3Pipeline:
    """Two layers, the last of which has no text to answer."""
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=32, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64, pos_embed_max_size=32, qk_norm="rms_norm",
        dual_attention_layers=dual,
    )  # fmt: skip
    texts = (projected(), tokenizer(64), projected(), tokenizer(64), wide_t5(), tokenizer(64))
    return StableDiffusion3Pipeline(transformer, FlowMatchEulerDiscreteScheduler(shift=3.0), vae(4), *texts)


def wide_t5() -> object:
    config = t5().config
    config.d_model = 64
    return type(t5())(config)


CASES = [
    Case("sd15", "sd15", sd15, targets=120, guided=5.0, reads=("diffusers", "kohya")),
    Case("sd21", "sd21", sd21, targets=120, guided=5.0, reads=("diffusers", "kohya")),
    Case("sdxl", "sdxl", sdxl, targets=192, guided=5.0, reads=("diffusers", "kohya")),
    Case("sd35", "sd3", sd3, targets=21, guided=4.0),
    Case("sd35 with dual attention", "sd3", lambda: sd3((0,)), targets=25, guided=4.0),
]
