"""Families and base models: what there is, and which of them a job means. Importing it loads no torch; a family's module is loaded when it is used."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import JobError
from ..settings import load_settings, resolve
from .architectures import ARCHITECTURES
from .bases import BASES, STARTER
from .defaults import ModelDefaults, read_defaults
from .rows import BaseInfo, FamilyInfo

if TYPE_CHECKING:
    from .base import ModelFamily


__all__ = ["BASES", "FAMILIES", "STARTER", "BaseInfo", "FamilyInfo"]

FAMILIES: dict[str, FamilyInfo] = {info.name: info for info in ARCHITECTURES}
"""By name. Extensions add theirs."""


def base_of(name_or_path: str) -> BaseInfo | None:
    """The row of a base model, by its hub id or path."""
    return next((base for base in BASES if base.name_or_path == name_or_path or base.id == name_or_path), None)


def locate(name_or_path: str) -> Path | None:
    """The model's folder on this computer, in diffusers layout; None if only the hub has it."""
    models = load_settings().models
    places = [
        resolve(name_or_path),
        *([Path(models) / name_or_path, Path(models) / Path(name_or_path).name] if models else []),
    ]
    return next((place for place in places if (place / "model_index.json").is_file()), None)


def defaults_of(name_or_path: str, arch: str | None = None) -> ModelDefaults:
    """What the model wants: its own file, else its row in the table, else its family's."""
    folder = locate(name_or_path)
    if folder and (own := read_defaults(folder)):
        return own
    base = base_of(name_or_path)
    return base.defaults if base else FAMILIES[arch].defaults if arch in FAMILIES else ModelDefaults()


def info_of(name_or_path: str, arch: str | None = None) -> FamilyInfo | None:
    """The row of a model's family; None where neither the table nor this computer has the model and no family is named."""
    folder, base = locate(name_or_path), base_of(name_or_path)
    if folder:
        arch = family_name(arch, pipeline_in(folder), folder)
    name = family_name(arch, None) if arch else base.family if base else None
    return FAMILIES[name] if name else None


def reference_size_of(
    name_or_path: str, arch: str | None, settings: Mapping[str, object]
) -> Callable[[int, int, tuple[int, int]], tuple[int, int]] | None:
    """Width and height of a reference picture, and those of the picture that it is shown beside → the size at which it is shown.

    ``settings`` are those of model.model_kwargs. None where it has the size of the picture.
    """
    info, multiple = info_of(name_or_path, arch), multiple_of(name_or_path, arch)
    shows = info.reference_size if info else None
    return (lambda width, height, beside: shows(width, height, beside, multiple, bool(settings.get("match_target_res")))) if shows else None


def multiple_of(name_or_path: str, arch: str | None = None) -> int:
    """What the sides of pictures are multiples of for a model: its family's, or what an autoencoder of its own asks for."""
    folder, info = locate(name_or_path), info_of(name_or_path, arch)
    multiple = info.pixel_multiple if info else FamilyInfo.pixel_multiple
    file = folder / "vae" / "config.json" if folder else None
    if file and file.is_file():
        config = json.loads(file.read_text(encoding="utf-8"))
        names = {"AutoencoderKL": "block_out_channels", "AutoencoderDC": "encoder_block_out_channels"}
        if levels := config.get(names.get(config.get("_class_name"), "")):
            return max(1, multiple * 2 ** (len(levels) - 1) // 8)  # the usual one makes 8 pixels one
    return multiple


def family_name(arch: str | None, pipeline: str | None, folder: Path | None = None) -> str:
    """The family that ``model.arch`` names ("flux", "flux:dev"), else the one the pipeline class belongs to.

    ``folder`` is the model's: its files tell families apart that have the same pipeline.
    """
    known = ", ".join(FAMILIES)
    if arch is not None:
        plain = arch.split(":")[0]
        for info in FAMILIES.values():
            if plain == info.name or plain in info.arch_names:
                return info.name
        raise JobError(f"model.arch {arch!r} is not a known family.", f"Known are: {known}.")
    fitting = [info for info in FAMILIES.values() if pipeline in info.pipelines]
    signed = [info for info in fitting if info.signs and folder and _shows(folder, info.signs)]
    if chosen := signed or [info for info in fitting if not info.signs] or fitting:
        return chosen[0].name
    raise JobError(
        f"The model is a {pipeline or 'kind'} that no family of Darkroom reads.",
        f"Known families: {known}. If it is one of them, set model.arch.",
    )


def _shows(folder: Path, signs: Mapping[str, Mapping[str, object]]) -> bool:
    for file, settings in signs.items():
        if not (folder / file).is_file():
            return False
        found = json.loads((folder / file).read_text(encoding="utf-8"))
        if any(found.get(name) != value for name, value in settings.items()):
            return False
    return True


def pipeline_in(folder: Path) -> str | None:
    """Class name of the pipeline in a local model folder."""
    name = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("_class_name")
    return name[-1] if isinstance(name, list) else name  # a list: the model brings a file of code, which is never run


def load_family(name: str) -> type[ModelFamily]:
    """The family's class. A broken import is an error of this family alone."""
    module, _, attribute = FAMILIES[name].dotted.partition(":")
    try:
        return getattr(importlib.import_module(module if "." in module else f"engine.families.{module}"), attribute)
    except ImportError as error:
        raise JobError(
            f"The family {name} cannot be loaded: {error}.",
            "Run the doctor (launch.sh doctor); the other families still work.",
        ) from error
