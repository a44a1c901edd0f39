"""Each schedule against its formula, at every step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import cos, pi
from typing import get_args

import pytest
import torch

from engine.errors import JobError
from engine.jobs import Train, load_job
from engine.jobs.train import ScheduleName
from engine.training.schedules import make_schedule, set_step

STEPS, WARMUP, PEAK = 60, 12, 0.5


def progress(step: int) -> float:
    """Of the part after the warm-up."""
    return (step - WARMUP) / (STEPS - WARMUP)


def stable_decay(step: int) -> float:
    return 1.0 if step < 36 else 1 - (step - 36) / 24 if step < 60 else 0.0


AFTER: dict[str, tuple[dict[str, object], Callable[[int], float]]] = {
    "constant": ({}, lambda step: 1.0),
    "constant_with_warmup": ({}, lambda step: 1.0),
    "linear": ({}, lambda step: 1 - progress(step)),
    "cosine": ({}, lambda step: 0.5 * (1 + cos(pi * progress(step)))),
    "cosine_with_restarts": ({}, lambda step: 0.5 * (1 + cos(pi * (3 * progress(step) % 1))) if step < STEPS else 0.0),
    "polynomial": ({"power": 2.0, "lr_end": 0.1}, lambda step: (0.4 * (1 - progress(step)) ** 2 + 0.1) / PEAK),
    "step": ({"step_size": 10, "gamma": 0.5}, lambda step: 0.5 ** ((step - WARMUP) // 10)),
    "warmup_stable_decay": ({"decay_type": "linear", "num_decay_steps": 24}, stable_decay),
}


def rates(name: str, params: dict[str, object], start: int = 0, **keys: object) -> list[float]:
    """From step ``start`` to the end, as a run of Darkroom has them."""
    train = Train(steps=STEPS, lr=PEAK, lr_scheduler=name, lr_scheduler_params=params, **{"lr_warmup_steps": WARMUP, **keys})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = make_schedule(train, optimizer)
    if start:
        set_step(schedule, start)
    seen = []
    for _ in range(start, STEPS + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_every_name_has_its_formula_here():
    assert {*AFTER, "piecewise_constant"} == set(get_args(ScheduleName))


@pytest.mark.parametrize("name", AFTER)
def test_a_schedule_is_its_formula_at_every_step(name):
    params, formula = AFTER[name]
    expected = [PEAK * (step / WARMUP if step < WARMUP else formula(step)) for step in range(STEPS + 1)]
    assert rates(name, params) == pytest.approx(expected, abs=1e-9)


def test_piecewise_constant_holds_each_rate_up_to_its_step():
    expected = [PEAK * (1 if step < 10 else 0.1 if step < 25 else 0.01) for step in range(STEPS + 1)]
    assert rates("piecewise_constant", {"step_rules": "1:10,0.1:25,0.01"}, lr_warmup_steps=0) == pytest.approx(expected)


@pytest.mark.parametrize("name", [*AFTER, "piecewise_constant"])
@pytest.mark.parametrize("start", [1, WARMUP, 37])
def test_a_schedule_that_begins_anywhere_goes_on_as_the_whole(name, start):
    params = AFTER[name][0] if name in AFTER else {"step_rules": "1:10,0.1:25,0.01"}
    assert rates(name, params, start) == rates(name, params)[start:]


def test_restarts_really_start_again():
    seen = rates("cosine_with_restarts", {}, lr_warmup_steps=0)
    assert sum(later > earlier for earlier, later in pairwise(seen)) == 2


def test_all_groups_of_weights_follow_in_proportion():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    set_step(make_schedule(Train(steps=100, lr_scheduler="linear"), optimizer), 25)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.75, 0.075])


@pytest.mark.parametrize("name", ["polynomial", "linear"])
def test_a_schedule_works_on_groups_without_a_common_rate(name):
    from engine.training.optimizers import make_optimizer

    optimizer = make_optimizer(
        "muon", [torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2))], 0.01, {}, torch.device("cpu")
    )
    set_step(make_schedule(Train(steps=100, lr_scheduler=name), optimizer), 50)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.005, rel=1e-4)


@pytest.mark.parametrize(
    "name, params, words",
    [
        ("cosine", {"num_cycle": 2}, "num_cycle is not an option of cosine"),
        ("linear", {"power": 2}, "power is not an option of linear"),
        ("warmup_stable_decay", {"dekay_type": "x"}, "dekay_type is not an option"),
        ("piecewise_constant", {}, r"needs lr_scheduler_params\.step_rules"),
        ("step", {}, r"needs lr_scheduler_params\.step_size"),
        ("step", {"step_size": 0}, "do not suit step"),
        ("piecewise_constant", {"step_rules": "often"}, "do not suit piecewise_constant"),
        ("polynomial", {"lr_end": 2.0}, "do not suit polynomial"),
    ],
)
def test_options_that_do_not_fit_are_an_error_in_a_sentence(name, params, words):
    with pytest.raises(JobError, match=words) as caught:
        rates(name, params)
    assert caught.value.hint


@pytest.mark.parametrize(
    "theirs, params",
    [
        ({"lr_scheduler": "cosine", "lr_scheduler_params": {"total_iters": 60, "T_max": 60}}, {}),
        ({"lr_scheduler": "cosine_with_restarts"}, {"num_cycles": 1}),
        ({"lr_scheduler": "cosine_with_restarts", "lr_scheduler_params": {"T_0": 20}}, {"num_cycles": 3}),
        ({"lr_scheduler": "step", "lr_scheduler_params": {"step_size": 20, "gamma": 0.1}}, {"step_size": 20, "gamma": 0.1}),
    ],
)
def test_options_of_ai_toolkit_get_their_names_here(theirs, params):
    process = {
        "type": "sd_trainer", "model": {"name_or_path": "m", "is_flux": True}, "network": {"type": "lora", "linear": 4, "linear_alpha": 4},
        "datasets": [{"folder_path": "d"}], "train": {"steps": STEPS, **theirs},
    }  # fmt: skip
    job = load_job({"job": "extension", "config": {"name": "x", "process": [process]}})
    assert job.train.lr_scheduler_params == params
    make_schedule(job.train, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=job.train.lr))
