"""Learning rate over the run, by name: diffusers' schedules, and transformers' warm-up, stable, decay."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from diffusers.optimization import get_scheduler
from transformers.optimization import get_wsd_schedule

from ..errors import JobError
from ..jobs.train import Train


def make_schedule(settings: Train, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
    """A pure function of the step, so that setting ``last_epoch`` is all that a resume needs."""
    name, options = settings.lr_scheduler, dict(settings.lr_scheduler_params)
    common = {"num_warmup_steps": settings.lr_warmup_steps, "num_training_steps": settings.steps}
    try:
        if name == "warmup_stable_decay":
            options.setdefault("num_decay_steps", round(0.4 * settings.steps))
            return get_wsd_schedule(optimizer, **common, **options)
        if name == "constant" and settings.lr_warmup_steps:
            name = "constant_with_warmup"
        return get_scheduler(name, optimizer, **common, **options)
    except TypeError as error:
        known = set(
            inspect.signature(get_wsd_schedule if name == "warmup_stable_decay" else get_scheduler).parameters
        )
        known -= {"optimizer", "name", "last_epoch", *common}
        raise JobError(
            f"train.lr_scheduler_params do not suit {name}: {error}.",
            f"Known are: {', '.join(sorted(known))}.",
        ) from error


def set_step(schedule: torch.optim.lr_scheduler.LambdaLR, step: int) -> None:
    """As if ``step`` optimizer steps had been made."""
    state: dict[str, Any] = schedule.state_dict() | {"last_epoch": step, "_step_count": step + 1}
    schedule.load_state_dict(state)
    for group, base, factor in zip(
        schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
    ):
        group["lr"] = base * factor(step)
