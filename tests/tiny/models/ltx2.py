"""LTX-2, and the shape that it has since 2.3."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video, FlowMatchEulerDiscreteScheduler, LTX2Pipeline, LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from einops import rearrange
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from ..case import Case
from ..parts import tokenizer

FIRST = {"use_prompt_embeddings": True}, {}
SINCE = (
    {"use_prompt_embeddings": False, "perturbed_attn": True, **{f"{side}{name}": True for side in ("", "audio_") for name in ("gated_attn", "cross_attn_mod")}},
    {"per_modality_projections": True, "video_hidden_dim": 24, "audio_hidden_dim": 16, "proj_bias": True, "video_gated_attn": True, "audio_gated_attn": True},
)


def ltx2(shape: tuple[dict[str, Any], dict[str, Any]] = FIRST) -> LTX2Pipeline:
    """Its VAE makes one latent of 8 x 8 pixels in two frames."""
    torch.manual_seed(0)
    first = shape is FIRST
    transformer = LTX2VideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=12, cross_attention_dim=24, vae_scale_factors=(2, 8, 8),
        audio_in_channels=4, audio_out_channels=4, audio_num_attention_heads=2, audio_attention_head_dim=8, audio_cross_attention_dim=16,
        num_layers=2, caption_channels=16, rope_type="split", **shape[0],
    )  # fmt: skip
    connectors = LTX2TextConnectors(
        caption_channels=16, text_proj_in_factor=3, rope_type="split",
        **{f"{side}_connector_num_layers": 1 for side in ("video", "audio")},
        **{f"{side}_connector_num_attention_heads": 2 for side in ("video", "audio")},
        **{f"{side}_connector_num_learnable_registers": 8 for side in ("video", "audio")},
        video_connector_attention_head_dim=8 if first else 12, audio_connector_attention_head_dim=8, **shape[1],
    )  # fmt: skip
    vae = AutoencoderKLLTX2Video(
        latent_channels=4, block_out_channels=(8,), decoder_block_out_channels=(8,), down_block_types=("LTX2VideoDownBlock3D",),
        layers_per_block=(1, 1), decoder_layers_per_block=(1, 1), spatio_temporal_scaling=(True,), decoder_spatio_temporal_scaling=(True,),
        decoder_inject_noise=(False, False), downsample_type=("spatiotemporal",), upsample_type=("spatiotemporal",), upsample_residual=(True,),
        upsample_factor=(1,), decoder_causal=False, scaling_factor=1.5,
    )  # fmt: skip
    vae.latents_mean.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
    vae.latents_std.copy_(torch.tensor([1.5, 0.7, 1.0, 2.0]))
    sound = AutoencoderKLLTX2Audio(base_channels=4, ch_mult=(1,), num_res_blocks=1, resolution=32, latent_channels=2, mel_bins=8)
    vocoder = LTX2Vocoder(
        in_channels=16, hidden_channels=8, upsample_kernel_sizes=[4, 4], upsample_factors=[2, 2], resnet_kernel_sizes=[3], resnet_dilations=[[1, 3]],
        output_sampling_rate=16000,
    )  # fmt: skip
    text = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    eyes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 14, "patch_size": 14}
    encoder = Gemma3ForConditionalGeneration(Gemma3Config(text_config={**text, "vocab_size": 200}, vision_config=eyes, mm_tokens_per_image=1))
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_image_seq_len=1024, max_image_seq_len=4096, base_shift=0.95, max_shift=2.05
    )  # without the real one's shift_terminal, with which diffusers cannot draw in a single step
    return LTX2Pipeline(scheduler, vae, sound, encoder, tokenizer(32), connectors, transformer, vocoder)


class OfPictures(FlowMatchEulerDiscreteScheduler):
    """Its copy, which the pipeline makes for sound, is a plain one: so the answers for pictures can be told from those for sound."""

    def __deepcopy__(self, memo: dict[int, Any]) -> FlowMatchEulerDiscreteScheduler:
        return FlowMatchEulerDiscreteScheduler(**{name: value for name, value in self.config.items() if not name.startswith("_")})


def without_sound(pipe: LTX2Pipeline) -> None:
    """Pictures and sound do not look at each other."""
    pipe.scheduler = OfPictures(**{name: value for name, value in pipe.scheduler.config.items() if not name.startswith("_")})
    forward = pipe.transformer.forward
    pipe.transformer.forward = lambda **given: forward(**{**given, "isolate_modalities": True})


CASES = [
    Case(
        name, "ltx2", make, targets=20, guided=3.0, width=96, height=64, latents=(8, 12), frames=5, mend=without_sound, reads=("diffusers", "comfyui"),
        unpack=lambda tokens, height, width: rearrange(tokens, "b (f h w) c -> b c f h w", h=height, w=width),
        defaults={"fps": 24, "num_frames": 5},
    )
    for name, make in (("ltx 2", ltx2), ("ltx 2.3", partial(ltx2, SINCE)))
]  # fmt: skip
