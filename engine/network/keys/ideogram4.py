"""Ideogram 4: diffusers' names and those of the published model, which ComfyUI reads and diffusers (0.42) turns into its own.

Each knows only the fused layers of attention under these names: ComfyUI has no table of diffusers' names for this model.
"""

from __future__ import annotations

from .rule import Rule

_BLOCK = "layers.{}"
_SAME = (
    *(f"{_BLOCK}.{layer}" for layer in ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3", "adaln_modulation")),
    "input_proj", "llm_cond_proj", "t_embedding.mlp_in", "t_embedding.mlp_out", "adaln_proj", "final_layer.linear", "final_layer.adaln_modulation",
)  # fmt: skip

IDEOGRAM4: tuple[Rule, ...] = (
    Rule(f"{_BLOCK}.attention.qkv", tuple(f"{_BLOCK}.attention.to_{name}" for name in "qkv"), (1, 1, 1)),
    Rule(f"{_BLOCK}.attention.o", (f"{_BLOCK}.attention.to_out.0",)),
    *(Rule(layer, (layer,)) for layer in _SAME),
)
