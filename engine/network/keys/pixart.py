"""PixArt-Sigma: diffusers' names and those of the original model. ComfyUI reads both; each attention is fused in the original."""

from __future__ import annotations

from .rule import Rule

_BLOCK = {
    "attn.proj": "attn1.to_out.0",
    "cross_attn.q_linear": "attn2.to_q",
    "cross_attn.proj": "attn2.to_out.0",
    "mlp.fc1": "ff.net.0.proj",
    "mlp.fc2": "ff.net.2",
}
_FUSED = {
    "attn.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v"),
}
_OUTSIDE = {
    "x_embedder.proj": "pos_embed.proj",
    "y_embedder.y_proj.fc1": "caption_projection.linear_1",
    "y_embedder.y_proj.fc2": "caption_projection.linear_2",
    "t_embedder.mlp.0": "adaln_single.emb.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "adaln_single.emb.timestep_embedder.linear_2",
    "t_block.1": "adaln_single.linear",
    "final_layer.linear": "proj_out",
}

PIXART: tuple[Rule, ...] = (
    *(Rule(f"blocks.{{}}.{native}", (f"transformer_blocks.{{}}.{ours}",)) for native, ours in _BLOCK.items()),
    *(
        Rule(f"blocks.{{}}.{native}", tuple(f"transformer_blocks.{{}}.{part}" for part in ours), (1,) * len(ours))
        for native, ours in _FUSED.items()
    ),
    *(Rule(native, (ours,)) for native, ours in _OUTSIDE.items()),
)
