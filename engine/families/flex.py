"""Flex.1: FLUX.1 schnell grown into a model of its own, with a guidance embedding that was trained apart from the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.models.embeddings import CombinedTimestepTextProjEmbeddings
from torch import nn

from .flux import Flux


class Flex1(Flux):
    """Trained without the guidance embedding, drawn with it."""

    name = "flex1"

    def predict(self, noisy, sigma, cond):
        with without_guidance(self.denoiser.time_text_embed):
            return super().predict(noisy, sigma, cond)


@contextmanager
def without_guidance(embedding: nn.Module) -> Iterator[None]:
    """Inside, time and text are embedded as in a model that has no guidance embedding."""
    embedding.forward = lambda time, guidance, text: CombinedTimestepTextProjEmbeddings.forward(embedding, time, text)
    try:
        yield
    finally:
        del embedding.forward
