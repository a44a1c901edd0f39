"""Which family a finished file is for: by the names of its layers, and where those leave it open, by what it says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..families.catalog import BASES, FAMILIES
from .keys import family_of


def family_hint(metadata: Mapping[str, str]) -> str | None:
    """The family that the texts of a header name, in kohya's words, AI Toolkit's or Darkroom's own."""
    said = {
        metadata.get("modelspec.architecture", "").removesuffix("/lora").removesuffix("/textual-inversion"),
        metadata.get("ss_base_model_version", ""),
    } - {""}
    for name, info in FAMILIES.items():
        names = {name, *info.arch_names, *((info.kohya.architecture, info.kohya.version) if info.kohya else ())}
        if said & names:
            return name
    return next((base.family for base in BASES if base.architecture in said), None)


def family_in(paths: Iterable[str], metadata: Mapping[str, str]) -> str | None:
    """The family of layers under diffusers' names."""
    found = (re.fullmatch(r"(?:transformer(?:_\d)?|unet)\.(.+)", path) for path in paths)
    return family_of([match[1] for match in found if match], family_hint(metadata))
