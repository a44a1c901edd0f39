"""Chroma: FLUX.1's names without its modulation, and those of the small model in its place."""

from __future__ import annotations

from .flux import FLUX
from .rule import Rule

_DISTILLED = {
    "in_proj": "in_proj",
    "out_proj": "out_proj",
    "layers.{}.in_layer": "layers.{}.linear_1",
    "layers.{}.out_layer": "layers.{}.linear_2",
}
_ABSENT = ("mod.lin", "modulation", "time_in", "vector_in", "guidance_in")

CHROMA: tuple[Rule, ...] = (
    *(rule for rule in FLUX if not any(word in rule.native for word in _ABSENT)),
    *(Rule(f"distilled_guidance_layer.{native}", (f"distilled_guidance_layer.{ours}",)) for native, ours in _DISTILLED.items()),
)
