"""PRX, of latents and of pixels."""

from __future__ import annotations

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, PRXPipeline, PRXPixelPipeline, PRXTransformer2DModel
from transformers import Qwen3VLTextModel

from ..case import Case
from ..parts import t5, tokenizer, vae
from .krea2 import qwen3_vl


def prx() -> PRXPipeline:
    """With T5: diffusers (0.42) opens its own encoder with the settings of a folder that holds the decoder too."""
    torch.manual_seed(0)
    transformer = alive(PRXTransformer2DModel(in_channels=4, context_in_dim=32, hidden_size=32, mlp_ratio=2.0, num_heads=2, depth=2, axes_dim=[8, 8]))
    return PRXPipeline(transformer, FlowMatchEulerDiscreteScheduler(shift=3.0), t5(), tokenizer(64), vae(4))


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
    Case(
        "prx", "prx", prx, targets=12, guided=5.0, reads=(), arguments={"use_resolution_binning": False},
        patches={f"{MODULE}.TextPreprocessor.clean_text": lambda self, text: text.strip()},
    ),
    Case(
        "prx of pixels", "prx_pixel", prx_pixel, targets=12, guided=5.0, reads=(), latents=(32, 48), arguments={"use_resolution_binning": False},
        unpack=lambda tensor, height, width: tensor / 2, patches={f"{MODULE}_pixel._basic_clean": str.strip},
    ),
]  # fmt: skip
