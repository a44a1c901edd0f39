"""LoRA files of every form, made from the same random layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.network.files import write_lora
from engine.network.layers import KOHYA, Layer, join

SHAPES = {
    **{f"transformer.transformer_blocks.{i}.attn.to_{x}": (32, 32) for i in (0, 1) for x in "qkv"},
    "transformer.transformer_blocks.1.ff.net.2": (32, 128),
    "transformer.single_transformer_blocks.10.proj_out": (32, 160),
    "transformer.single_transformer_blocks.2.proj_out": (32, 160),
}
TEXTS = {
    "modelspec.trigger_phrase": "mug42", "modelspec.architecture": "flux-1-dev/lora", "ss_steps": "60", "ss_sd_model_name": "FLUX.1-dev",
    "ss_network_alpha": "2",
}  # fmt: skip


@pytest.fixture
def layers() -> dict[str, Layer]:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return {path: Layer(draw(4, into), draw(out, 4), 2.0) for path, (out, into) in SHAPES.items()}


@pytest.fixture
def updates(layers) -> dict[str, Tensor]:
    return {path: layer.up @ layer.down * layer.scale for path, layer in layers.items()}


@pytest.fixture
def files(layers, tmp_path) -> dict[str, Path]:
    """Form → file."""
    tensors = join(layers)
    paths = {form: tmp_path / f"{form}.safetensors" for form in ("diffusers", "comfyui", "kohya")}
    write_lora(paths["diffusers"], tensors, TEXTS, "fp32", "diffusers", "flux")
    write_lora(paths["comfyui"], tensors, TEXTS, "fp32", "comfyui", "flux")
    flat = {
        "lora_unet_"
        + {
            "ff.net.2": "double_blocks_1_img_mlp_2",
            "10.proj_out": "single_blocks_10_linear2",
            "2.proj_out": "single_blocks_2_linear2",
        }[name]: layer
        for path, layer in layers.items()
        for name in ("ff.net.2", "10.proj_out", "2.proj_out")
        if path.endswith(f".{name}")
    }
    save_file(join(flat, KOHYA), paths["kohya"], TEXTS)
    return paths
