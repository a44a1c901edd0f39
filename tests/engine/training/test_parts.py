"""The pieces of the loop, each by itself."""

from __future__ import annotations

import pytest
import torch

from engine.training.ema import Average
from engine.training.readback import Readback

CPU = torch.device("cpu")


def parameters() -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.randn(5))]


def step(params: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, scale: float = 1.0) -> None:
    for p in params:
        p.grad = p.detach() * scale
    optimizer.step()


def test_the_average_is_shown_only_inside_and_continues_from_its_state():
    params = parameters()
    average = Average(params, 0.5)
    optimizer = torch.optim.SGD(params, lr=0.1)
    for _ in range(3):
        step(params, optimizer)
        average.step()
    raw = [p.detach().clone() for p in params]
    with average.shown():
        shown = [p.detach().clone() for p in params]
    assert all(torch.equal(a, p) for a, p in zip(raw, params, strict=True))
    assert not torch.equal(raw[0], shown[0])
    again = Average(params, 0.5)
    again.load(*average.state())
    with again.shown():
        assert all(torch.equal(a, p) for a, p in zip(shown, params, strict=True))


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_the_average_forgets_the_first_weights_and_then_follows_by_its_decay(decay):
    """Written out: after step n the average keeps min(decay, n / (9 + n)) of itself, so that it is no shadow of the beginning."""
    params = parameters()
    average, wanted = Average(params, decay), [p.detach().clone() for p in params]
    optimizer = torch.optim.SGD(params, lr=0.1)
    for count in range(1, 31):
        step(params, optimizer)
        average.step()
        kept = min(decay, count / (9 + count)) if count > 1 else 0.0
        wanted = [kept * one + (1 - kept) * p.detach() for one, p in zip(wanted, params, strict=True)]
    with average.shown():
        for one, p in zip(wanted, params, strict=True):
            torch.testing.assert_close(p.detach(), one)


def test_losses_are_read_in_order():
    readback = Readback(CPU)
    for index in range(3):
        readback.push(index, torch.tensor(float(index)))
    assert readback.take() == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert readback.take(wait=True) == []
