"""Text encoders: CLIP and T5, as diffusers' files name their layers. No other names are known for them but flat ones."""

from __future__ import annotations

from .rule import Rule, match

_CLIP = "text_model.encoder.layers.{}."
_T5 = "encoder.block.{}.layer."

TEXT: tuple[Rule, ...] = tuple(
    Rule(name, (name,))
    for name in (
        *(f"{_CLIP}self_attn.{layer}" for layer in ("q_proj", "k_proj", "v_proj", "out_proj")),
        *(f"{_CLIP}mlp.{layer}" for layer in ("fc1", "fc2")),
        "text_projection",
        *(f"{_T5}0.SelfAttention.{layer}" for layer in "qkvo"),
        *(f"{_T5}1.DenseReluDense.{layer}" for layer in ("wi_0", "wi_1", "wi", "wo")),
    )
)


def text_path(path: str) -> str:
    """The path that stands in files: newer CLIP classes (transformers 5) have lost the ``text_model.`` in front."""
    known = path.startswith("encoder.") and any(match(rule.native, f"text_model.{path}") for rule in TEXT)
    return f"text_model.{path}" if known else path
