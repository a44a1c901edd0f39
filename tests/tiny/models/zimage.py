"""Z-Image."""

from __future__ import annotations

import re

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

from ..case import Case
from ..parts import CHAT, qwen3, tokenizer, vae


def zimage() -> ZImagePipeline:
    torch.manual_seed(0)
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16,
        axes_dims=[4, 6, 6], axes_lens=[128, 64, 64],
    )  # fmt: skip
    words = tokenizer(64)
    words.chat_template = CHAT
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return ZImagePipeline(scheduler, vae(4), qwen3(2), words, transformer)


def as_comfyui_has_it(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies of the transformer's weights with query, key and value in one, and the names of its first implementation."""
    renamed = {}
    for name, tensor in tensors.items():
        name = name.replace("all_final_layer.2-1.", "final_layer.").replace("all_x_embedder.2-1.", "x_embedder.")
        name = name.replace("attention.to_out.0.", "attention.out.").replace("attention.norm_", "attention.")
        name = re.sub(r"attention\.([qk])\.weight", r"attention.\1_norm.weight", name)
        renamed[f"model.diffusion_model.{name}"] = tensor.clone()
    for name in [name for name in renamed if name.endswith("to_q.weight")]:
        renamed[name.replace("to_q", "qkv")] = torch.cat([renamed.pop(name.replace("to_q", f"to_{letter}")) for letter in "qkv"])
    return renamed


CASES = [Case("z-image", "zimage", zimage, targets=14, guided=3.0, reads=("diffusers", "comfyui"))]
