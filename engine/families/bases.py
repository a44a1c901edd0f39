"""The table of base models that the app offers. Any other one is used by its path or hub id."""

from __future__ import annotations

from ..settings import ROOT
from .defaults import ModelDefaults, read_defaults
from .rows import BaseInfo

STARTER = BaseInfo(
    id="starter",
    title="Starter",
    note="Built in. A practice model for icons, any computer",
    name_or_path="assets/starter",
    family="flux",
    size_gb=0.034,
    licence="Apache-2.0",
    preset="starter_lora_cpu.yaml",
    defaults=read_defaults(ROOT / "assets" / "starter") or ModelDefaults(),
    parameters=0.009,
    featured=True,
)
BASES: list[BaseInfo] = [
    STARTER,
    BaseInfo(
        id="flux-dev",
        title="FLUX.1 dev",
        note="Best pictures. 48 GB card",
        name_or_path="black-forest-labs/FLUX.1-dev",
        family="flux",
        size_gb=33.7,
        licence="FLUX.1 [dev] Non-Commercial",
        gated=True,
        preset="flux_lora_48gb.yaml",
        defaults=ModelDefaults(title="FLUX.1 dev", family="flux", max_sequence_length=512),
        parameters=11.9,
        featured=True,
    ),
    BaseInfo(
        id="flux-schnell",
        title="FLUX.1 schnell",
        note="Free to use for work. 48 GB card",
        name_or_path="black-forest-labs/FLUX.1-schnell",
        family="flux",
        size_gb=33.7,
        licence="Apache-2.0",
        gated=True,
        preset="flux_schnell_lora_48gb.yaml",
        defaults=ModelDefaults(title="FLUX.1 schnell", family="flux", sample_steps=4, guidance_scale=1.0, max_sequence_length=256),
        parameters=11.9,
        architecture="flux-1-schnell",
        featured=True,
    ),
]
