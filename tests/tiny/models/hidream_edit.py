"""HiDream E1."""

from __future__ import annotations

from engine.families.hidream_edit_pipeline import HiDreamImageEditingPipeline

from ..case import Case
from .hidream import hidream


def hidream_edit() -> HiDreamImageEditingPipeline:
    return HiDreamImageEditingPipeline(**hidream().components)


CASES = [Case("hidream edit", "hidream_e1", hidream_edit, guided=3.0, targets=21, controls=1)]
