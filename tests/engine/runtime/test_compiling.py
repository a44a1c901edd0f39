"""Blocks that are compiled say and learn the same."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn

from engine.families.defaults import ModelDefaults
from engine.families.flux import Flux
from engine.jobs import Lora
from engine.network.attach import attach
from engine.runtime import compiling
from engine.runtime.compiling import compile_blocks

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh():
    yield
    torch.compiler.reset()


def learnt(compiled: bool) -> list[torch.Tensor]:
    family = Flux(tiny.flux(), ModelDefaults.model_validate(tiny.DEFAULTS), None)
    network = attach(Lora(rank=4), {"transformer": family.denoiser}, Flux.lora_targets, seed=1, family="flux")
    if compiled:  # "eager" traces as the real one does, and needs no compiler
        assert list(compile_blocks(family.denoiser, CPU, backend="eager")) == []
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.1)
    cond = {"prompt_embeds": torch.randn(1, 5, 32), "pooled_prompt_embeds": torch.randn(1, 32)}
    answer = family.predict(torch.randn(1, 1, 16, 24), torch.tensor([0.5]), cond)
    answer.square().mean().backward()
    return [answer.detach(), *(weight.grad for weight in network.parameters())]


def test_compiled_blocks_learn_the_same():
    from torch._dynamo.utils import counters

    counters.clear()
    for one, other in zip(learnt(False), learnt(True), strict=True):
        torch.testing.assert_close(one, other)
    assert counters["stats"]["unique_graphs"] >= 2, "one for each kind of block"


def test_a_computer_without_a_compiler_goes_on_and_says_so(monkeypatch):
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    [warned] = compile_blocks(tiny.flux().transformer, CPU)
    assert "needs a C++ compiler" in warned.message


def test_a_model_without_repeated_blocks_goes_on_and_says_so():
    [warned] = compile_blocks(nn.Linear(2, 2), CPU)
    assert "Linear names no blocks" in warned.message
