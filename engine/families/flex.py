"""Flex.1: FLUX.1 schnell grown into a model of its own, with a guidance embedding that was trained apart from the rest."""

from __future__ import annotations

from .flux import Flux


class Flex1(Flux):
    """Trained without the guidance embedding, drawn with it."""

    name = "flex1"
    bypasses_guidance = True
