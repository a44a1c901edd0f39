"""A tiny FLUX with a LoRA whose weights are not zero."""

from __future__ import annotations

import pytest
import tiny
import torch

from engine.families.flux import Flux
from engine.jobs import Lora
from engine.network.attach import LoraNetwork, attach


@pytest.fixture(scope="session")
def make_network():
    """A network on a fresh tiny transformer; every up matrix is random, as after some training."""

    def make(trained: bool = True, targets: str = Flux.lora_targets, **settings) -> LoraNetwork:
        denoiser = tiny.flux(layers=2).transformer
        network = attach(Lora(**{"rank": 4, **settings}), {"transformer": denoiser}, targets, seed=7, family="flux")
        if trained:
            generator = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for name, weight in network.named_parameters():
                    if "lora_B" in name:
                        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
        return network

    return make
