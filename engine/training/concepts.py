"""Objectives whose right answer the base model itself gives, asked with other words. Pictures give only the layout."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..families.base import ModelFamily
from ..jobs.train import Slider
from ..network.attach import Network
from .objectives import Asked, Batch, Process, averaged


@dataclass
class Sliding:
    """At strength 1 the adapter leads from one prompt towards another, at -1 the other way (Gandikota et al. 2023, Concept Sliders)."""

    process: Process
    slider: Slider
    network: Network

    def losses(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Generator[Tensor, None, None]:
        answer = asked(self.process, family, batch, rng)
        with torch.no_grad(), self.network.disabled():
            here, more, less = answer("target"), answer("more"), answer("less")
            anchor = answer("anchor") if self.slider.anchor_class is not None else None
        way = self.slider.guidance_strength * (more - less)
        for sign in (1.0, -1.0):
            with self.network.scaled(sign):  # until the part is differentiated: checkpointing computes forward again
                loss = averaged((answer("target") - as_spread(here + sign * way, here)).square(), None, batch.weights)
                if anchor is not None:
                    kept = averaged((answer("anchor") - anchor).square(), None, batch.weights)
                    loss = loss + self.slider.anchor_strength * kept
                yield loss / 2


@dataclass
class Replacing:
    """Asked for one thing, the model answers as the base model does for another."""

    process: Process
    base: Callable[[], contextlib.AbstractContextManager[None]]

    def losses(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Generator[Tensor, None, None]:
        answer = asked(self.process, family, batch, rng)
        with torch.no_grad(), self.base():
            right = answer("instead")
        yield averaged((answer("") - right).square(), batch.mask, batch.weights)


def asked(process: Process, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Asked:
    """The batch at one draw of noise."""
    clean = batch.draw(rng)
    seen = process.noised(family, clean, batch, rng)
    return Asked(family, batch, family.practise(clean, batch.cond, rng), seen)


def as_spread(answer: Tensor, like: Tensor) -> Tensor:
    """With the mean and the spread of another: guidance makes answers larger, and that alone is not to be learned."""
    return (answer - answer.mean()) / (answer.std() + 1e-8) * like.std() + like.mean()
