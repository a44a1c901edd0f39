"""Krea 2: diffusers' names and those of the original model."""

from __future__ import annotations

from .rule import Rule

_BLOCK = {
    "attn.wq": "attn.to_q",
    "attn.wk": "attn.to_k",
    "attn.wv": "attn.to_v",
    "attn.wo": "attn.to_out.0",
    "attn.gate": "attn.to_gate",
    "mlp.gate": "ff.gate",
    "mlp.up": "ff.up",
    "mlp.down": "ff.down",
}
_BLOCKS = {
    "blocks.{}": "transformer_blocks.{}",
    "txtfusion.layerwise_blocks.{}": "text_fusion.layerwise_blocks.{}",
    "txtfusion.refiner_blocks.{}": "text_fusion.refiner_blocks.{}",
}
_OUTSIDE = {
    "first": "img_in",
    "last.linear": "final_layer.linear",
    "tmlp.0": "time_embed.linear_1",
    "tmlp.2": "time_embed.linear_2",
    "tproj.1": "time_mod_proj",
    "txtmlp.1": "txt_in.linear_1",
    "txtmlp.3": "txt_in.linear_2",
    "txtfusion.projector": "text_fusion.projector",
}

KREA2: tuple[Rule, ...] = (
    *(
        Rule(f"{native}.{layer}", (f"{ours}.{name}",))
        for native, ours in _BLOCKS.items()
        for layer, name in _BLOCK.items()
    ),
    *(Rule(native, (ours,)) for native, ours in _OUTSIDE.items()),
)  # fmt: skip
