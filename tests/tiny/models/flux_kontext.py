"""FLUX.1 Kontext."""

from __future__ import annotations

from diffusers import FluxKontextPipeline

from ..case import Case, tokens_2x2
from .flux import flux


def flux_kontext() -> FluxKontextPipeline:
    parts = flux(guidance_embeds=True).components
    return FluxKontextPipeline(**parts)


CASES = [
    Case(
        "flux kontext", "flux_kontext", flux_kontext, unpack=tokens_2x2, targets=17, controls=1,
        arguments={"max_area": 48 * 32, "_auto_resize": False},
    ),
]  # fmt: skip
