"""What a row of the table of families and of the table of base models says. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .defaults import ModelDefaults
from .reference_sizes import ReferenceSize

Task = Literal["image", "edit", "video"]


@dataclass(frozen=True)
class Kohya:
    """What kohya's trainer calls a family in the files that it writes. Tools compare these texts letter by letter."""

    architecture: str
    """ModelSpec architecture."""
    implementation: str
    version: str
    """ss_base_model_version."""
    module: str = "networks.lora"
    more: Mapping[str, str] = field(default_factory=dict)
    """Further texts of the header."""


@dataclass(frozen=True)
class FamilyInfo:
    """One architecture."""

    name: str
    title: str
    dotted: str
    """module:class, relative to engine.families unless it is absolute."""
    task: Task
    pipelines: tuple[str, ...]
    """Class names in ``model_index.json`` that belong to it."""
    signs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """File of a model → settings in it, which tell the family from others with the same pipeline. None: it is taken for the rest."""
    arch_names: tuple[str, ...] = ()
    """Other names that jobs use for it."""
    defaults: ModelDefaults = field(default_factory=ModelDefaults)
    kohya: Kohya | None = None
    """None: its name and the diffusers library stand in saved files."""
    experimental: bool = False
    """It passes the same tests; few people have trained with it."""
    reference_size: ReferenceSize | None = None
    """How large a reference picture is shown, where that is not the size of the picture that it is shown beside."""
    pixel_multiple: int = 16
    """Sides of a picture are multiples of this, where its autoencoder is the usual one."""


@dataclass(frozen=True)
class BaseInfo:
    """One base model that the app offers."""

    id: str
    title: str
    note: str
    name_or_path: str
    """A model on the hub, a folder, or a single file on the hub."""
    family: str
    size_gb: float
    """Of the download."""
    licence: str
    preset: str
    """Job in presets/train that gives its numbers."""
    defaults: ModelDefaults
    gated: bool = False
    """Its page must be accepted, and a token set, before it can be downloaded."""
    parameters: float = 0.0
    """Of the denoiser, in billions."""
    text_parameters: float = 0.0
    """Of all text encoders, in billions."""
    memory_gb: dict[str, int] = field(default_factory=dict)
    """Precision → memory of the smallest card that trains a LoRA at 1024 pixels, or at what the model is made for."""
    needs: Literal["reference picture", "first frame"] | None = None
    """What goes with each picture of the data set."""
    extras: str | None = None
    """Of a single file: the whole model that has the other parts."""
    sampled_on: str | None = None
    """Base model on which LoRAs trained on this one are meant to be used, where that is another."""
    adapter: str | None = None
    """Assistant LoRA that is active while training: model.assistant_lora_path."""
    architecture: str | None = None
    """ModelSpec architecture, where it is not the family's."""
    featured: bool = False
    """Shown as a tile; the others are in a list."""
