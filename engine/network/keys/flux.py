"""FLUX.1: diffusers' names and those of the original model."""

from __future__ import annotations

from .rule import Rule

_DOUBLE = {
    "img_mod.lin": "norm1.linear",
    "img_attn.proj": "attn.to_out.0",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mod.lin": "norm1_context.linear",
    "txt_attn.proj": "attn.to_add_out",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
}
_DOUBLE_FUSED = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_SINGLE = {"modulation.lin": "norm.linear", "linear2": "proj_out"}
_OUTSIDE = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
}

FLUX: tuple[Rule, ...] = (
    *(Rule(f"double_blocks.{{}}.{native}", (f"transformer_blocks.{{}}.{ours}",)) for native, ours in _DOUBLE.items()),
    *(
        Rule(
            f"double_blocks.{{}}.{native}",
            tuple(f"transformer_blocks.{{}}.{part}" for part in ours),
            (1, 1, 1),
        )
        for native, ours in _DOUBLE_FUSED.items()
    ),
    *(Rule(f"single_blocks.{{}}.{native}", (f"single_transformer_blocks.{{}}.{ours}",)) for native, ours in _SINGLE.items()),
    Rule(
        "single_blocks.{}.linear1",
        tuple(f"single_transformer_blocks.{{}}.{part}" for part in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")),
        (1, 1, 1, 4),  # the model's mlp_ratio is fixed
    ),
    *(Rule(native, (ours,)) for native, ours in _OUTSIDE.items()),
    # diffusers reads (scale, shift) where the original reads (shift, scale)
    Rule("final_layer.adaLN_modulation.1", ("norm_out.linear",), swapped=True),
)
