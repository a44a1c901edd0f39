"""A slider from pairs of pictures: what tells them apart is learned, and what they have in common is not."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..families.base import ModelFamily, controls_in
from ..jobs.train import PairSlider
from ..network.attach import Network
from .objectives import Batch, Process, averaged


@dataclass
class Pairing:
    """At strength 1 the adapter learns from a picture, at -1 from its opposite: with the same noise, level and words (Gandikota et al. 2023)."""

    process: Process
    slider: PairSlider
    network: Network

    def losses(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Generator[Tensor, None, None]:
        opposite = f"control_{len(controls_in(batch.cond)) - 1}"  # after what the model itself is shown
        cond = {name: tensor for name, tensor in batch.cond.items() if name != opposite} | batch.others.get("target", {})
        drawn = rng.get_state()
        # the posteriors' means: another draw for each of the two would be a difference that means nothing
        for sign, clean in ((1.0, batch.mean.float()), (-1.0, batch.cond[opposite].float())):
            rng.set_state(drawn)
            seen = self.process.noised(family, clean, batch, rng)
            weights = seen.weights if batch.weights is None else batch.weights if seen.weights is None else batch.weights * seen.weights
            with self.network.scaled(sign * self.slider.strength):  # until the part is differentiated: checkpointing computes forward again
                said = family.predict_within(batch.span, seen.latents, seen.sigma, family.practise(clean, cond, rng)).float()
                yield averaged((said - seen.answer).square(), batch.mask, weights) / 2
