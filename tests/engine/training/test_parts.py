"""The pieces of the loop, each by itself."""

from __future__ import annotations

import pytest
import torch

from engine.errors import JobError
from engine.jobs import Train
from engine.training.ema import Average
from engine.training.optimizers import load_optimizer, make_optimizer, optimizer_tensors
from engine.training.readback import Readback
from engine.training.schedules import make_schedule, set_step
from engine.training.timesteps import draw_sigmas, flux_shift, shifted

CPU = torch.device("cpu")


def parameters() -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.randn(5))]


def step(params: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, scale: float = 1.0) -> None:
    for p in params:
        p.grad = p.detach() * scale
    optimizer.step()


@pytest.mark.parametrize(
    ("kind", "median"), [("sigmoid", 0.5), ("linear", 0.5), ("shift", 0.75), ("flux_shift", 0.622)]
)
def test_noise_levels_have_the_median_of_their_density(kind, median):
    sigmas = draw_sigmas(kind, 20_000, 256, torch.Generator().manual_seed(0))
    assert 0 < sigmas.min() and sigmas.max() < 1
    assert sigmas.median().item() == pytest.approx(median, abs=0.01)


def test_flux_shift_is_that_of_the_stock_scheduler():
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    for tokens in (64, 256, 1024, 4096):
        assert flux_shift(tokens) == pytest.approx(
            torch.tensor(calculate_shift(tokens)).exp().item(), rel=1e-6
        )
    assert shifted(torch.tensor(0.5), 3.0).item() == pytest.approx(0.75)


def test_an_optimizer_continued_from_its_tensors_takes_the_same_steps():
    one = parameters()
    first = make_optimizer("adamw", one, 0.1, {"weight_decay": 0.01}, CPU)
    for _ in range(3):
        step(one, first)
    two = [torch.nn.Parameter(p.detach().clone()) for p in one]
    second = make_optimizer("adamw", two, 0.1, {"weight_decay": 0.01}, CPU)
    tensors, values = optimizer_tensors(first)
    load_optimizer(second, {name: tensor.clone() for name, tensor in tensors.items()}, values)
    step(one, first)
    step(two, second)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_an_option_that_the_optimizer_does_not_have_is_named():
    with pytest.raises(JobError, match=r"train\.optimizer_params\.wieght_decay .* adamw"):
        make_optimizer("adamw", parameters(), 0.1, {"wieght_decay": 0.01}, CPU)


SCHEDULES = {
    "constant": (dict(), {1: 1.0, 50: 1.0, 100: 1.0}),
    "constant_with_warmup": (dict(lr_warmup_steps=10), {0: 0.0, 5: 0.5, 10: 1.0, 99: 1.0}),
    "linear": (dict(), {0: 1.0, 50: 0.5, 100: 0.0}),
    "cosine": (dict(), {0: 1.0, 50: 0.5, 100: 0.0}),
    "polynomial": (dict(), {0: 1.0, 50: 0.5, 100: 0.0}),
    "warmup_stable_decay": (
        dict(lr_scheduler_params={"decay_type": "linear"}, lr_warmup_steps=10),
        {5: 0.5, 10: 1.0, 60: 1.0, 80: 0.5, 100: 0.0},
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_does_what_its_name_says_and_can_begin_anywhere(name):
    settings, expected = SCHEDULES[name]
    train = Train(steps=100, lr=1.0, lr_scheduler=name, **settings)
    rates = {}
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    schedule = make_schedule(train, optimizer)
    for index in range(101):
        rates[index] = optimizer.param_groups[0]["lr"]
        optimizer.step()
        schedule.step()
    assert {index: rates[index] for index in expected} == pytest.approx(expected, abs=1e-6)
    later = torch.optim.SGD(parameters(), lr=1.0)
    resumed = make_schedule(train, later)
    set_step(resumed, 37)
    for index in range(37, 60):
        assert later.param_groups[0]["lr"] == rates[index]
        later.step()
        resumed.step()


def test_an_option_that_the_schedule_does_not_have_is_named():
    with pytest.raises(JobError, match="warmup_stable_decay"):
        make_schedule(
            Train(lr_scheduler="warmup_stable_decay", lr_scheduler_params={"dekay": 3}),
            torch.optim.SGD(parameters(), lr=1),
        )


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


def test_losses_are_read_in_order():
    readback = Readback(CPU)
    for index in range(3):
        readback.push(index, torch.tensor(float(index)))
    assert readback.take() == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert readback.take(wait=True) == []
