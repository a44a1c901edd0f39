"""The table of families and of base models. Importing it loads no torch; a family's module is loaded when it is used."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import JobError
from ..settings import ROOT, load_settings, resolve
from .defaults import ModelDefaults, read_defaults

if TYPE_CHECKING:
    from .base import ModelFamily


@dataclass(frozen=True)
class FamilyInfo:
    """One architecture."""

    name: str
    title: str
    dotted: str
    """module:class, relative to engine.families unless it is absolute."""
    task: str
    """image, edit or video."""
    pipelines: tuple[str, ...]
    """Class names in ``model_index.json`` that belong to it."""
    arch_names: tuple[str, ...] = ()
    """Other names that jobs use for it."""
    defaults: ModelDefaults = field(default_factory=ModelDefaults)


FAMILIES: dict[str, FamilyInfo] = {
    info.name: info
    for info in (
        FamilyInfo(
            "flux",
            "FLUX.1",
            "flux:Flux",
            "image",
            ("FluxPipeline",),
            ("flex1", "flux_schnell"),
            ModelDefaults(max_sequence_length=512),
        ),
    )
}


@dataclass(frozen=True)
class BaseInfo:
    """One base model that the app offers."""

    id: str
    title: str
    note: str
    name_or_path: str
    family: str
    size_gb: float
    licence: str
    gated: bool
    """Its page must be accepted, and a token set, before it can be downloaded."""
    preset: str
    """Job in presets/train that gives its numbers."""
    architecture: str
    """ModelSpec architecture, as kohya writes it."""
    defaults: ModelDefaults


STARTER = BaseInfo(
    "starter",
    "Starter",
    "Built in. A practice model for icons, any computer",
    "assets/starter",
    "flux",
    0.034,
    "Apache-2.0",
    False,
    "starter_lora_cpu.yaml",
    "flux-1-dev",
    read_defaults(ROOT / "assets" / "starter") or ModelDefaults(),
)
BASES: list[BaseInfo] = [
    STARTER,
    BaseInfo(
        "flux-dev", "FLUX.1 dev", "Best pictures. 48 GB card", "black-forest-labs/FLUX.1-dev", "flux", 33.7, "FLUX.1 [dev] Non-Commercial", True,
        "flux_lora_48gb.yaml", "flux-1-dev", ModelDefaults(title="FLUX.1 dev", family="flux", max_sequence_length=512),
    ),
    BaseInfo(
        "flux-schnell", "FLUX.1 schnell", "Free to use for work. 48 GB card", "black-forest-labs/FLUX.1-schnell", "flux", 33.7, "Apache-2.0", True,
        "flux_schnell_lora_48gb.yaml", "flux-1-schnell",
        ModelDefaults(title="FLUX.1 schnell", family="flux", sample_steps=4, guidance_scale=1.0, max_sequence_length=256),
    ),
]  # fmt: skip


def base_of(name_or_path: str) -> BaseInfo | None:
    """The row of a base model, by its hub id or path."""
    return next(
        (base for base in BASES if base.name_or_path == name_or_path or base.id == name_or_path), None
    )


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


def family_name(arch: str | None, pipeline: str | None) -> str:
    """The family that ``model.arch`` names ("flux", "flux:dev"), else the one the pipeline class belongs to."""
    known = ", ".join(FAMILIES)
    if arch is not None:
        plain = arch.split(":")[0]
        for info in FAMILIES.values():
            if plain == info.name or plain in info.arch_names:
                return info.name
        raise JobError(f"model.arch {arch!r} is not a known family.", f"Known are: {known}.")
    for info in FAMILIES.values():
        if pipeline in info.pipelines:
            return info.name
    raise JobError(
        f"The model is a {pipeline or 'kind'} that no family of Darkroom reads.",
        f"Known families: {known}. If it is one of them, set model.arch.",
    )


def pipeline_in(folder: Path) -> str | None:
    """Class name of the pipeline in a local model folder."""
    return json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("_class_name")


def load_family(name: str) -> type[ModelFamily]:
    """The family's class. A broken import is an error of this family alone."""
    module, _, attribute = FAMILIES[name].dotted.partition(":")
    try:
        return getattr(
            importlib.import_module(module if "." in module else f"engine.families.{module}"), attribute
        )
    except ImportError as error:
        raise JobError(
            f"The family {name} cannot be loaded: {error}.",
            "Run the doctor (launch.sh doctor); the other families still work.",
        ) from error
