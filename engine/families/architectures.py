"""The table of families: one row an architecture."""

from __future__ import annotations

from .defaults import ModelDefaults
from .rows import FamilyInfo, Kohya

ARCHITECTURES = (
    FamilyInfo(
        name="flux",
        title="FLUX.1",
        dotted="flux:Flux",
        task="image",
        pipelines=("FluxPipeline",),
        arch_names=("flex1", "flux_schnell"),
        defaults=ModelDefaults(max_sequence_length=512),
        kohya=Kohya("flux-1-dev", "https://github.com/black-forest-labs/flux", "flux1", "networks.lora_flux"),
    ),
)
