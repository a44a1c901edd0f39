"""Z-Image: ComfyUI and diffusers read diffusers' names under ``diffusion_model.``; ComfyUI reads the fused original ones too."""

from __future__ import annotations

from .rule import Rule

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_BLOCK = (*(f"attention.{layer}" for layer in _ATTENTION), *(f"feed_forward.w{number}" for number in (1, 2, 3)), "adaLN_modulation.0")
_OUTSIDE = (
    "all_x_embedder.2-1", "all_final_layer.2-1.linear", "all_final_layer.2-1.adaLN_modulation.1", "cap_embedder.1", "t_embedder.mlp.0",
    "t_embedder.mlp.2",
)  # fmt: skip
_BLOCKS = ("layers.{}", "noise_refiner.{}", "context_refiner.{}")

ZIMAGE: tuple[Rule, ...] = (
    *(Rule(f"{block}.{layer}", (f"{block}.{layer}",)) for block in _BLOCKS for layer in _BLOCK),
    *(Rule(layer, (layer,)) for layer in _OUTSIDE),
    # only read: what is written has the names above
    *(
        Rule(f"{block}.attention.qkv", tuple(f"{block}.attention.{layer}" for layer in _ATTENTION[:3]), (1, 1, 1))
        for block in _BLOCKS
    ),
    *(Rule(f"{block}.attention.out", (f"{block}.attention.to_out.0",)) for block in _BLOCKS),
)  # fmt: skip
