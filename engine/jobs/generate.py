"""The generate job: pictures from a base model, with and without LoRAs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import Job, ModelSection, SampleSettings, Strict


class LoraFile(Strict):
    """A LoRA to draw with."""

    path: str
    """The .safetensors file."""
    strength: Annotated[float, Field(ge=-10, le=10)] = 1.0
    """1 is as trained. Lower mixes in more of the base."""
    label: str = ""
    """Head of its column; left out: the file's name."""


class GenerateJob(Job):
    """Make pictures. Each LoRA draws every prompt by itself, from the same seeds: a column of a contact sheet."""

    title: ClassVar[str] = "Generate"
    kind: Literal["generate"] = "generate"
    model: ModelSection
    loras: list[LoraFile] = []
    """One column each."""
    with_base: bool = True
    """Also draw every prompt without a LoRA, as the first column."""
    sample: SampleSettings = SampleSettings()
