"""Weights in bf16 that still learn from small steps."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch import nn

from engine.errors import JobError
from engine.jobs import TrainJob
from engine.training.optimizer_state import load_optimizer, optimizer_tensors
from engine.training.optimizer_table import OPTIMIZERS, optimizer_notes
from engine.training.optimizers import device_notes, make_optimizer
from engine.training.rounding import RoundedOptimizer, round_at_random

CPU = torch.device("cpu")
NAMES = [name for name, row in OPTIMIZERS.items() if not (row.finds_rate or row.averages)]


@pytest.mark.parametrize("value", [1.001, -1.001, 3.1415926, -1e-5, 7e-39])
def test_the_mean_of_many_roundings_is_the_value(value):
    torch.manual_seed(0)
    rounded = round_at_random(torch.full((200_000,), value)).double()
    below, above = rounded.min(), rounded.max()
    assert below < value < above and len(rounded.unique()) == 2
    assert abs(rounded.mean().item() - value) < 5 * (above - below).item() / 200_000**0.5


def test_what_bf16_can_hold_and_what_is_no_number_stays():
    torch.manual_seed(0)
    values = torch.tensor([0.0, -0.0, 1.0, -2.5, float("inf"), -float("inf"), 2.0**100]).repeat(1000)
    assert torch.equal(round_at_random(values).float(), values)
    for bits in (0x7FC00000, 0x7FFFFFFF):  # to the second, one cannot add
        assert round_at_random(torch.full((1000,), bits, dtype=torch.int32).view(torch.float32)).isnan().all()


def descend(weight: nn.Parameter, optimizer: torch.optim.Optimizer, steps: int, seed: int = 0) -> None:
    for step in range(steps):
        torch.manual_seed(seed + step)
        weight.grad = torch.ones_like(weight)
        optimizer.step()


def test_steps_that_are_too_small_for_bf16_add_up():
    weight = nn.Parameter(torch.ones(1000, dtype=torch.bfloat16))
    descend(weight, make_optimizer("adamw", [weight], 1e-4, {"weight_decay": 0.0}, CPU, rounded=True), 100)
    assert weight.dtype == torch.bfloat16 and weight.float().mean().item() == pytest.approx(0.99, abs=1e-3)
    stuck = nn.Parameter(torch.ones(1000, dtype=torch.bfloat16))
    descend(stuck, make_optimizer("adamw", [stuck], 1e-4, {"weight_decay": 0.0}, CPU), 100)
    assert (stuck == 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_weights_in_bf16_continue_bit_for_bit(name):
    def made() -> list[nn.Parameter]:
        torch.manual_seed(0)
        return [nn.Parameter(torch.randn(shape).bfloat16()) for shape in ((6, 4), (5,))]

    def run(params: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            torch.manual_seed(step)
            for weight in params:
                weight.grad = weight.detach() - 0.5
            optimizer.step()
            optimizer.zero_grad()

    whole, halves = made(), made()
    run(whole, make_optimizer(name, whole, 1e-3, {}, CPU, rounded=True), range(6))
    first = make_optimizer(name, halves, 1e-3, {}, CPU, rounded=True)
    assert isinstance(first, RoundedOptimizer)
    run(halves, first, range(3))
    second = make_optimizer(name, halves, 1e-3, {}, CPU, rounded=True)
    tensors, values = optimizer_tensors(first)
    assert {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float32}
    load_optimizer(second, {key: tensor.clone() for key, tensor in tensors.items()}, values)
    run(halves, second, range(3, 6))
    assert all(torch.equal(a, b) and a.dtype == torch.bfloat16 for a, b in zip(whole, halves, strict=True))


def told(network: str = "full", **train) -> str:
    job = TrainJob(
        name="x", model={"name_or_path": "m"}, network={"type": network}, datasets=[{"path": "d"}],
        train={"optimizer": "adamw", "weights_dtype": "bf16", "dtype": "bf16", **train},
    )  # fmt: skip
    return " ".join(note.message for note in chain(optimizer_notes(job), device_notes(job, CPU)))


def test_what_does_not_go_with_it_is_said():
    assert not told() and "no effect" in told(network="lora")
    for train, words in (
        ({"ema_config": {"use_ema": True}}, "use_ema needs weights"), ({"optimizer": "prodigy", "lr": 1}, "prodigy needs weights"),
        ({"optimizer": "schedule-free"}, "schedule-free needs weights"), ({"dtype": "fp32"}, "computed with in bf16"),
    ):  # fmt: skip
        with pytest.raises(JobError, match=words):
            told(**train)
