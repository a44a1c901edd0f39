"""A family as the tests that all families pass see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from engine.families.layout import unpack

Unpack = Callable[[Tensor, int, int], Tensor]


def as_they_are(tensor: Tensor, height: int, width: int) -> Tensor:
    return tensor


def tokens_2x2(tensor: Tensor, height: int, width: int) -> Tensor:
    """Tokens that pipelines hand to their scheduler, as latents of this height and width."""
    return unpack(tensor, like=torch.empty(1, 1, height, width))


def of_timesteps(scheduler: Any, t: Tensor) -> Tensor:
    """What sigma is where the scheduler stands at ``t``: nearly all pipelines tell their model the share of noise."""
    return torch.as_tensor(t).float().view(-1)[:1] / scheduler.config.num_train_timesteps


@dataclass(frozen=True)
class Case:
    """One tiny pipeline."""

    name: str
    family: str
    """In the catalog."""
    make: Callable[[], DiffusionPipeline]
    """The same random weights each time."""
    targets: int
    """Layers of it that carry a LoRA."""
    guidance: float = 1.0
    """At which the pipeline asks its model once a step."""
    guided: float | None = None
    """At which it asks with a negative prompt too; None where the model knows no such guidance."""
    controls: int = 0
    """Reference pictures that are given with the prompt."""
    width: int = 48
    height: int = 32
    latents: tuple[int, int] = (16, 24)
    """Height and width of the latents of such a picture."""
    frames: int = 1
    """Of a video."""
    unpack: Unpack = as_they_are
    """What the scheduler gets, as latents."""
    share: Callable[[Any, Tensor], Tensor] = of_timesteps
    """The scheduler of a pipeline that has drawn, and one of its timesteps → sigma there."""
    reads: tuple[str, ...] = ("diffusers",)
    """Forms of LoRA files that the stock pipeline reads."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """What the stock pipeline must be told besides, to draw at the size that is asked for."""
    mend: Callable[[DiffusionPipeline], None] = lambda pipe: None
    """Takes out of the stock pipeline what training leaves out on purpose: a known fault, a guidance embedding."""
    drawn_by: Callable[[DiffusionPipeline], DiffusionPipeline] = lambda pipe: pipe
    """The pipeline that takes such pictures, where it is not the one in the model's files."""
    patches: dict[str, Any] = field(default_factory=dict)
    """What stands in for facts of the pipeline's module that are too large for tests, by dotted name."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """What stands in its darkroom.json besides DEFAULTS."""
