"""FLUX.2: diffusers' names and those of the original model. Single blocks are fused in both."""

from __future__ import annotations

from .rule import Rule

_DOUBLE = {
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.linear_in",
    "img_mlp.2": "ff.linear_out",
    "txt_mlp.0": "ff_context.linear_in",
    "txt_mlp.2": "ff_context.linear_out",
}
_DOUBLE_FUSED = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_SINGLE = {"linear1": "attn.to_qkv_mlp_proj", "linear2": "attn.to_out"}
_OUTSIDE = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_guidance_embed.guidance_embedder.linear_2",
    "double_stream_modulation_img.lin": "double_stream_modulation_img.linear",
    "double_stream_modulation_txt.lin": "double_stream_modulation_txt.linear",
    "single_stream_modulation.lin": "single_stream_modulation.linear",
    "final_layer.linear": "proj_out",
}

FLUX2: tuple[Rule, ...] = (
    *(Rule(f"double_blocks.{{}}.{native}", (f"transformer_blocks.{{}}.{ours}",)) for native, ours in _DOUBLE.items()),
    *(
        Rule(f"double_blocks.{{}}.{native}", tuple(f"transformer_blocks.{{}}.{part}" for part in ours), (1, 1, 1))
        for native, ours in _DOUBLE_FUSED.items()
    ),
    *(Rule(f"single_blocks.{{}}.{native}", (f"single_transformer_blocks.{{}}.{ours}",)) for native, ours in _SINGLE.items()),
    *(Rule(native, (ours,)) for native, ours in _OUTSIDE.items()),
    # diffusers reads (scale, shift) where the original reads (shift, scale)
    Rule("final_layer.adaLN_modulation.1", ("norm_out.linear",), swapped=True),
)
