"""Learning rate over the run, by name: diffusers' schedules, transformers' warm-up, stable, decay, and steps."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers.optimization import TYPE_TO_SCHEDULER_FUNCTION, SchedulerType
from torch.optim.lr_scheduler import LambdaLR
from transformers.optimization import get_wsd_schedule

from ..errors import JobError
from ..jobs.train import ScheduleName, Train


def make_schedule(settings: Train, optimizer: torch.optim.Optimizer) -> LambdaLR:
    """A pure function of the step, so that setting ``last_epoch`` is all that a resume needs. An option that it does not have is an error."""
    name, options = settings.lr_scheduler, dict(settings.lr_scheduler_params)
    if name == "constant" and settings.lr_warmup_steps:
        name = "constant_with_warmup"
    make = _function(name)
    accepted = inspect.signature(make).parameters
    common = {"num_warmup_steps": settings.lr_warmup_steps, "num_training_steps": settings.steps}
    known = sorted(set(accepted) - {"optimizer", "last_epoch", *common})
    if unknown := sorted(set(options) - set(known)):
        near, listed = difflib.get_close_matches(unknown[0], known, 1), ", ".join(known)
        raise JobError(
            f"train.lr_scheduler_params.{unknown[0]} is not an option of {name}.",
            f"{f'Did you mean {near[0]}? ' if near else ''}{f'Known are: {listed}.' if known else 'It has none.'}",
        )
    given = {**_defaults(name, settings), **options}
    if missing := [key for key in known if accepted[key].default is inspect.Parameter.empty and key not in given]:
        raise JobError(f"train.lr_scheduler {name} needs lr_scheduler_params.{missing[0]}.", EXAMPLES.get(name, "Add it."))
    try:
        return make(optimizer, **{key: value for key, value in common.items() if key in accepted}, **given)
    except (TypeError, ValueError, AttributeError) as error:
        raise JobError(f"train.lr_scheduler_params do not suit {name}: {error}.", EXAMPLES.get(name, "Check their values.")) from error


EXAMPLES = {
    "piecewise_constant": 'For example step_rules: "1:1000,0.1:1500,0.01": whole up to step 1000, a tenth up to step 1500, then a hundredth.',
    "step": "For example step_size: 500 and gamma: 0.5.",
    "polynomial": "lr_end must be below lr.",
}


def set_step(schedule: LambdaLR, step: int) -> None:
    """As if ``step`` optimizer steps had been made."""
    state: dict[str, Any] = schedule.state_dict() | {"last_epoch": step, "_step_count": step + 1}
    schedule.load_state_dict(state)
    for group, base, factor in zip(schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
        group["lr"] = base * factor(step)


def get_step_schedule(optimizer: torch.optim.Optimizer, num_warmup_steps: int, step_size: int, gamma: float = 0.1) -> LambdaLR:
    """Times ``gamma`` every ``step_size`` steps after the warm-up."""
    if step_size < 1 or gamma <= 0:
        raise ValueError("step_size must be at least 1 and gamma above 0")

    def factor(step: int) -> float:
        if step < num_warmup_steps:
            return step / num_warmup_steps
        return gamma ** ((step - num_warmup_steps) // step_size)

    return LambdaLR(optimizer, factor)


def _function(name: ScheduleName) -> Callable[..., LambdaLR]:
    own: dict[str, Callable[..., LambdaLR]] = {"warmup_stable_decay": get_wsd_schedule, "step": get_step_schedule}
    return own.get(name) or TYPE_TO_SCHEDULER_FUNCTION[SchedulerType(name)]


def _defaults(name: ScheduleName, settings: Train) -> Mapping[str, Any]:
    """Where the library has none, or one under which the schedule would not do what its name says."""
    return {
        "warmup_stable_decay": {"num_decay_steps": round(0.4 * settings.steps)},
        "cosine_with_restarts": {"num_cycles": 3},  # once is no restart
    }.get(name, {})
