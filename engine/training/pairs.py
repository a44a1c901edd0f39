"""A slider from pairs of pictures: what tells them apart is learned, and what they have in common is not."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.scan import Item
from ..data.words import count
from ..errors import JobError
from ..events import Event
from ..families.base import ModelFamily
from ..jobs import TrainJob
from ..jobs.train import PairSlider
from ..network.attach import Network
from .objectives import Batch, Process, averaged
from .prompts import WITH_PICTURES

OPPOSITE = "control_0"
"""Where the latents of the opposite pictures are in a batch."""


@dataclass
class Pairing:
    """At strength 1 the adapter learns from a picture, at -1 from its opposite: with the same noise, level and words (Gandikota et al. 2023)."""

    process: Process
    slider: PairSlider
    network: Network

    def losses(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Generator[Tensor, None, None]:
        cond = {name: tensor for name, tensor in batch.cond.items() if name != OPPOSITE} | batch.others.get("target", {})
        drawn = rng.get_state()
        # the posteriors' means: another draw for each of the two would be a difference that means nothing
        for sign, clean in ((1.0, batch.mean.float()), (-1.0, batch.cond[OPPOSITE].float())):
            rng.set_state(drawn)
            seen = self.process.noised(family, clean, batch, rng)
            weights = seen.weights if batch.weights is None else batch.weights if seen.weights is None else batch.weights * seen.weights
            with self.network.scaled(sign * self.slider.strength):  # until the part is differentiated: checkpointing computes forward again
                said = family.predict_within(batch.span, seen.latents, seen.sigma, family.practise(clean, cond, rng)).float()
                yield averaged((said - seen.answer).square(), batch.mask, weights) / 2


def check_pairs(job: TrainJob, family: ModelFamily, items: Sequence[Item]) -> Iterator[Event]:
    """Of a job with a slider from pairs. Raises JobError where it cannot be."""
    if job.network.type in ("full", "none") or job.embedding or job.decorator:
        raise JobError("pair_slider turns a LoRA the one way and the other, and nothing else.", "Set network.type to lora, and leave embedding and decorator out.")
    if both := [key for key in ("slider", "replacements", "adapter") if getattr(job, key)]:
        raise JobError(f"A job has both pair_slider and {both[0]}.", "Make two jobs of it.")
    if idle := [key for key in (*WITH_PICTURES, "train_text_encoder") if getattr(job.train, key)]:
        raise JobError(f"train.{idle[0]} does not go together with pair_slider.", "Leave it out.")
    if job.train.timestep_type == "next_sample":
        raise JobError("train.timestep_type next_sample does not go together with pair_slider.", "Choose another.")
    if family.max_controls or family.is_video:
        raise JobError(f"A slider from pairs is for models that draw a picture from words alone, and {family.title} is none.", "Choose another base model.")
    if {len(item.controls) for item in items} != {1}:
        numbers = sorted({len(item.controls) for item in items})
        raise JobError(
            f"pair_slider needs the opposite of each picture, and the data has {' or '.join(count(one, 'reference picture') for one in numbers)} with each.",
            "Set control_path of each data set to the folder with the opposite pictures, under the same names.",
        )
    yield from ()
