"""PRX, of latents and of pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from diffusers import AutoencoderDC, AutoencoderKL, FlowMatchEulerDiscreteScheduler, PRXPipeline, PRXPixelPipeline, PRXTransformer2DModel
from transformers import Qwen3VLTextModel

from ..case import Case
from ..parts import t5, tokenizer, vae
from .krea2 import qwen3_vl


def prx(patch: int = 2, autoencoder: Callable[[int], AutoencoderKL | AutoencoderDC] = vae) -> PRXPipeline:
    """With T5: diffusers (0.42) opens its own encoder with the settings of a folder that holds the decoder too."""
    torch.manual_seed(0)
    transformer = PRXTransformer2DModel(
        in_channels=4, patch_size=patch, context_in_dim=32, hidden_size=32, mlp_ratio=2.0, num_heads=2, depth=2, axes_dim=[8, 8]
    )
    return PRXPipeline(alive(transformer), FlowMatchEulerDiscreteScheduler(shift=3.0), t5(), tokenizer(64), autoencoder(4))


def dc_ae(channels: int) -> AutoencoderDC:
    """Halves a picture's sides once. Its latents are no distribution, and its settings name no shift."""
    return AutoencoderDC(
        latent_channels=channels, attention_head_dim=2, encoder_block_out_channels=(4, 8), decoder_block_out_channels=(4, 8),
        encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1), encoder_qkv_multiscales=((), ()), decoder_qkv_multiscales=((), ()),
        scaling_factor=0.41,
    )  # fmt: skip


def prx_pixel() -> PRXPixelPipeline:
    torch.manual_seed(0)
    transformer = alive(
        PRXTransformer2DModel(
            in_channels=3, patch_size=16, context_in_dim=16, hidden_size=32, mlp_ratio=2.0, num_heads=2, depth=2, axes_dim=[8, 8],
            bottleneck_size=16, resolution_embeds=True,
        )
    )  # fmt: skip
    encoder = Qwen3VLTextModel(qwen3_vl(layers=2).text_config)
    return PRXPixelPipeline(transformer, FlowMatchEulerDiscreteScheduler(shift=3.0), encoder, tokenizer(64), prompt_max_tokens=64)


def alive(transformer: PRXTransformer2DModel) -> PRXTransformer2DModel:
    """Its blocks begin with zeros, behind which nothing would be seen."""
    with torch.no_grad():
        for weight in transformer.parameters():
            if not weight.any():
                weight.normal_(std=0.1)
    return transformer


MODULE = "diffusers.pipelines.prx.pipeline_prx"  # its cleaners need ftfy, and do not ask for it
CASES = [
    # their pipelines read no LoRA
    *(
        Case(
            name, "prx", make, targets=12, guided=5.0, reads=(), arguments={"use_resolution_binning": False},
            patches={f"{MODULE}.TextPreprocessor.clean_text": lambda self, text: text.strip()},
        )
        for name, make in (("prx", prx), ("prx with a dc-ae", partial(prx, patch=1, autoencoder=dc_ae)))
    ),
    Case(
        "prx of pixels", "prx_pixel", prx_pixel, targets=12, guided=5.0, reads=(), latents=(32, 48), arguments={"use_resolution_binning": False},
        unpack=lambda tensor, height, width: tensor / 2, patches={f"{MODULE}_pixel._basic_clean": str.strip},
    ),
]  # fmt: skip
