"""AI Toolkit's optimizers and schedules as ours: by which rule it is learned, and at which rate."""

from __future__ import annotations

from ..errors import JobError
from . import compat_keys as keys
from .compat_sections import Note, Section, given_in


def read_optimizer(given: Section, note: Note) -> None:
    """Our name of the optimizer, put into ``given``; its own experiments are a JobError."""
    name = str(given["optimizer"]).lower()
    if name in keys.OPTIMIZERS_REFUSED:
        raise JobError(f"train.optimizer {name} is an experiment of AI Toolkit, which is not here.", "Choose automagic or adamw.")
    if name.startswith("dadaptation") and name.endswith("adam"):
        note("dadaptationadam is built as D-Adapt Lion by AI Toolkit; here it is D-Adapt Adam.", "Write dadaptlion for what it did.")
    if name.startswith("prodigy8bit"):
        name = "prodigy8bit"
    elif name.startswith("prodigy") and "schedule" not in name:
        name = "prodigy"  # it looks at the beginning alone
    given["optimizer"] = name


def read_schedule(given: Section, note: Note) -> None:
    """How the learning rate rises and falls, put into ``given`` under our names."""
    further = dict(given_in(given.pop("lr_scheduler_params", None) or {}))
    further.pop("total_iters", None)
    steps, name = given.get("steps", keys.DEFAULTS["train"]["steps"]), given.get("lr_scheduler")
    if name == "cosine" and further.pop("T_max", steps) != steps:
        note("train.lr_scheduler_params.T_max is left out: here cosine falls over all steps.")
    if name == "cosine_with_restarts":
        further["num_cycles"] = max(1, round(steps / further.pop("T_0", steps)))  # its period is all steps unless it is given
    if further.pop("eta_min", 0):
        note("train.lr_scheduler_params.eta_min is left out: here the learning rate falls to nothing.")
    warmup = further.pop("num_warmup_steps", 1000 if given.get("lr_scheduler") == "constant_with_warmup" else 0)
    given.setdefault("lr_warmup_steps", warmup)
    if given.get("lr_scheduler") == "linear":
        note(
            "train.lr_scheduler linear lets the learning rate rise in AI Toolkit; here it falls to nothing.", "Set constant to avoid both."
        )
    if further:
        given["lr_scheduler_params"] = further
