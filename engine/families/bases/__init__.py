"""The table of base models that the app offers, a module for each kind. Any other one is used by its path or hub id."""

from __future__ import annotations

from ...settings import ROOT
from ..defaults import ModelDefaults, read_defaults
from ..rows import BaseInfo
from .flux import FLUX
from .flux2 import FLUX2
from .hidream import HIDREAM
from .others import OTHERS
from .qwen import QWEN
from .stable_diffusion import STABLE_DIFFUSION
from .wan import WAN
from .zimage import ZIMAGE

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
BASES: list[BaseInfo] = [STARTER, *FLUX, *ZIMAGE, *FLUX2, *STABLE_DIFFUSION, *QWEN, *HIDREAM, *WAN, *OTHERS]
