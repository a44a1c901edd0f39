"""Lumina-Image 2.0: diffusers' names and those of the original model. Three heads of queries share one of keys and values."""

from __future__ import annotations

from fractions import Fraction

from .rule import Rule

_BLOCK = {
    "attention.out": "attn.to_out.0",
    "feed_forward.w1": "feed_forward.linear_1",
    "feed_forward.w2": "feed_forward.linear_2",
    "feed_forward.w3": "feed_forward.linear_3",
    "adaLN_modulation.1": "norm1.linear",
}
_QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
_OUTSIDE = {
    "x_embedder": "x_embedder",
    "cap_embedder.1": "time_caption_embed.caption_embedder.1",
    "t_embedder.mlp.0": "time_caption_embed.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_caption_embed.timestep_embedder.linear_2",
    "final_layer.adaLN_modulation.1": "norm_out.linear_1",
    "final_layer.linear": "norm_out.linear_2",
}
_BLOCKS = ("layers.{}", "noise_refiner.{}", "context_refiner.{}")

LUMINA2: tuple[Rule, ...] = (
    *(Rule(f"{block}.{native}", (f"{block}.{ours}",)) for block in _BLOCKS for native, ours in _BLOCK.items()),
    *(Rule(f"{block}.attention.qkv", tuple(f"{block}.{part}" for part in _QKV), (1, Fraction(1, 3), Fraction(1, 3))) for block in _BLOCKS),
    *(Rule(native, (ours,)) for native, ours in _OUTSIDE.items()),
)
