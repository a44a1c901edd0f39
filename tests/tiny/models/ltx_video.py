"""LTX-Video."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXPipeline, LTXVideoTransformer3DModel
from einops import rearrange

from ..case import Case
from ..parts import t5, tokenizer


def ltx_video() -> LTXPipeline:
    """Its VAE makes one latent of 8 x 8 pixels in two frames."""
    torch.manual_seed(0)
    transformer = LTXVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=12, cross_attention_dim=24, num_layers=2, caption_channels=32
    )
    vae = AutoencoderKLLTXVideo(
        latent_channels=4, block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), down_block_types=("LTXVideoDownBlock3D",) * 2,
        layers_per_block=(1, 1, 1), decoder_layers_per_block=(1, 1, 1), spatio_temporal_scaling=(True, False),
        decoder_spatio_temporal_scaling=(True, False), decoder_inject_noise=(False,) * 3, downsample_type=("conv",) * 2,
        upsample_residual=(False,) * 2, upsample_factor=(1, 1), scaling_factor=1.5,
    )  # fmt: skip
    vae.latents_mean.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
    vae.latents_std.copy_(torch.tensor([1.5, 0.7, 1.0, 2.0]))
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_image_seq_len=1024, max_image_seq_len=4096, base_shift=0.95, max_shift=2.05
    )  # without the real one's shift_terminal, with which diffusers cannot draw in a single step
    return LTXPipeline(scheduler, vae, t5(), tokenizer(128), transformer)


CASES = [
    Case(
        "ltx video", "ltx_video", ltx_video, targets=20, guided=3.0, width=96, height=64, latents=(8, 12), frames=5, reads=("diffusers", "comfyui"),
        unpack=lambda tokens, height, width: rearrange(tokens, "b (f h w) c -> b c f h w", h=height, w=width),
        defaults={"fps": 25, "num_frames": 5},
    ),
]  # fmt: skip
