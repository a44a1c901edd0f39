"""Qwen-Image: its names are diffusers' own. They are told one by one, so that flat ones (kohya's) are understood."""

from __future__ import annotations

from .rule import Rule

_BLOCK = (
    *(f"attn.{layer}" for layer in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")),
    *(f"{side}_{layer}" for side in ("img", "txt") for layer in ("mlp.net.0.proj", "mlp.net.2", "mod.1")),
)
_OUTSIDE = (
    "img_in",
    "txt_in",
    "time_text_embed.timestep_embedder.linear_1",
    "time_text_embed.timestep_embedder.linear_2",
    "norm_out.linear",
    "proj_out",
)

QWEN: tuple[Rule, ...] = tuple(Rule(name, (name,)) for name in (*(f"transformer_blocks.{{}}.{layer}" for layer in _BLOCK), *_OUTSIDE))
