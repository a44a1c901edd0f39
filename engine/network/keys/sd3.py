"""Stable Diffusion 3 and 3.5: diffusers' names and those of the original model (MMDiT, and MMDiT-X with a second attention)."""

from __future__ import annotations

from .rule import Rule

_BLOCK = {
    "x_block.attn.proj": "attn.to_out.0",
    "x_block.attn2.proj": "attn2.to_out.0",
    "x_block.mlp.fc1": "ff.net.0.proj",
    "x_block.mlp.fc2": "ff.net.2",
    "x_block.adaLN_modulation.1": "norm1.linear",
    "context_block.attn.proj": "attn.to_add_out",
    "context_block.mlp.fc1": "ff_context.net.0.proj",
    "context_block.mlp.fc2": "ff_context.net.2",
}
_FUSED = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_OUTSIDE = {
    "context_embedder": "context_embedder",
    "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
    "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
}

# the modulation of the text has no rule: the last block has its halves the other way round, and a rule knows no block
SD3: tuple[Rule, ...] = (
    *(Rule(f"joint_blocks.{{}}.{native}", (f"transformer_blocks.{{}}.{ours}",)) for native, ours in _BLOCK.items()),
    *(
        Rule(f"joint_blocks.{{}}.{native}", tuple(f"transformer_blocks.{{}}.{part}" for part in ours), (1, 1, 1))
        for native, ours in _FUSED.items()
    ),
    *(Rule(native, (ours,)) for native, ours in _OUTSIDE.items()),
    # diffusers reads (scale, shift) where the original reads (shift, scale)
    Rule("final_layer.adaLN_modulation.1", ("norm_out.linear",), swapped=True),
)
