"""One optimizer step, and the exact state between two of them."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from ..errors import JobError
from ..jobs import TrainJob
from ..runs.checkpoints import State
from ..runtime.device import autocast
from .bench import Bench
from .ema import Average
from .objectives import OBJECTIVES, Objective
from .optimizers import load_optimizer, make_optimizer, optimizer_tensors
from .schedules import make_schedule, set_step

_PRIME = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: spreads neighbouring steps over all seeds


class Learner:
    """Optimizer, schedule and average around a network. ``step`` counts the steps that are done."""

    def __init__(self, job: TrainJob, bench: Bench, objective: Objective | None = None):
        settings = job.train
        self.job, self.bench, self.step = job, bench, 0
        self.objective = objective or OBJECTIVES[bench.family.objective](settings.timestep_type)
        self.parameters = bench.network.parameters()
        self.optimizer = make_optimizer(
            settings.optimizer, self.parameters, settings.lr, settings.optimizer_params, bench.device
        )
        self.schedule = make_schedule(settings, self.optimizer)
        self.average = (
            Average(self.parameters, settings.ema_config.ema_decay) if settings.ema_config.use_ema else None
        )
        self.rng = torch.Generator(bench.device)
        self.scaler = torch.amp.GradScaler(bench.device.type, enabled=bench.dtype == torch.float16)

    @property
    def lr(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def learn(self) -> Tensor:
        """One optimizer step over all micro-batches; their mean loss, still on the device."""
        count = self.job.train.gradient_accumulation
        total = torch.zeros((), device=self.bench.device)
        for micro in range(self.step * count, (self.step + 1) * count):
            self._seed(micro)
            with autocast(self.bench.device, self.bench.dtype):
                loss = self.objective.loss(self.bench.family, self.bench.batch(micro), self.rng) / count
            self.scaler.scale(loss).backward()
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.job.train.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._advance()
        if self.average:
            self.average.step()
        return total

    def _seed(self, micro: int) -> None:
        """Draws follow from (seed, micro-batch): a resumed run draws the same, and there is no generator to save."""
        seed = (self.job.train.seed * _PRIME + micro) % 2**63
        self.rng.manual_seed(seed)
        torch.manual_seed(seed ^ 1)  # dropout draws from the global generators

    def skip(self) -> None:
        """Leave this step out: its gradients are dropped."""
        self._advance()

    def _advance(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.schedule.step()

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the network has its averaged weights, where there is an average."""
        return self.average.shown() if self.average else contextlib.nullcontext()

    def state(self) -> State:
        """Everything that the next step depends on, as copies on the CPU."""
        optimizer, values = optimizer_tensors(self.optimizer)
        tensors = {"weights": self.bench.network.state_tensors(), "optimizer": optimizer}
        average_steps = 0
        if self.average:
            tensors["ema"], average_steps = self.average.state()
        return State(
            step=self.step,
            tensors={
                group: {name: t.detach().cpu().clone() for name, t in some.items()}
                for group, some in tensors.items()
            },
            values={
                "optimizer": values,
                "ema_steps": average_steps,
                "scaler": self.scaler.state_dict(),
                "job": _identity(self.job),
            },
        )

    def load(self, state: State) -> None:
        """Continue as if never stopped. A job whose weights would not fit is refused with what changed."""
        if changed := _changes(state.values["job"], _identity(self.job)):
            raise JobError(
                f"This run was started with other settings: {changed}.",
                "Set them back to continue it, or choose another name for a new run.",
            )
        self.step = state.step
        self.bench.network.load_state_tensors(state.tensors["weights"])
        load_optimizer(self.optimizer, state.tensors["optimizer"], state.values["optimizer"])
        set_step(self.schedule, self.step)
        self.scaler.load_state_dict(state.values["scaler"])
        if self.average and "ema" in state.tensors:
            self.average.load(state.tensors["ema"], state.values["ema_steps"])


def _identity(job: TrainJob) -> dict[str, object]:
    """What must be the same for a state to fit."""
    data = job.model_dump(mode="json")
    return {
        "model.name_or_path": data["model"]["name_or_path"],
        **{f"network.{key}": value for key, value in data["network"].items()},
        "train.optimizer": data["train"]["optimizer"],
        "train.train_text_encoder": data["train"]["train_text_encoder"],
        "train.ema_config.use_ema": data["train"]["ema_config"]["use_ema"],
    }


def _changes(then: dict[str, object], now: dict[str, object]) -> str:
    keys = sorted({key for key in {*then, *now} if then.get(key) != now.get(key)})
    return ", ".join(f"{key} was {then.get(key)!r}, is {now.get(key)!r}" for key in keys)
