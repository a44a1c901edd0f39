"""Flex.2."""

from __future__ import annotations

import torch
from diffusers import FluxTransformer2DModel

from engine.families.flex2_pipeline import Flex2Pipeline

from ..case import Case, tokens_2x2
from .flex import unguided
from .flux import flux


def flex2() -> Flex2Pipeline:
    """Four channels: noise, what is kept, where it is drawn anew, and the control picture."""
    parts = flux(guidance_embeds=True).components
    torch.manual_seed(0)
    settings = {name: value for name, value in parts["transformer"].config.items() if not name.startswith("_")}
    parts["transformer"] = FluxTransformer2DModel(**{**settings, "in_channels": 16, "out_channels": 4})
    return Flex2Pipeline(**parts)


CASES = [
    Case("flex 2", "flex2", flex2, unpack=tokens_2x2, targets=17, mend=unguided),
    Case("flex 2 control", "flex2", flex2, unpack=tokens_2x2, targets=17, mend=unguided, controls=1),
]
