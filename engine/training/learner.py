"""One optimizer step, and the exact state between two of them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from ..errors import JobError
from ..jobs import TrainJob
from ..runs.checkpoints import State
from ..runtime.device import autocast
from .bench import Bench
from .concepts import Replacing, Sliding
from .ema import Average
from .objectives import PROCESSES, Objective, Regression
from .optimizer_state import load_optimizer, optimizer_tensors
from .optimizers import OPTIMIZERS, make_optimizer, rate_groups, set_rates, shown
from .pairs import Pairing
from .performance import Clock, Idle
from .rounding import EachOptimizer
from .sameness import data_summary, summary
from .schedules import make_schedule, set_step

_PRIME = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: spreads neighbouring steps over all seeds


class Learner:
    """Optimizer, schedule and average around a network. ``step`` counts the steps that are done."""

    def __init__(self, job: TrainJob, bench: Bench, objective: Objective | None = None):
        settings = job.train
        self.job, self.bench, self.step = job, bench, 0
        self.objective = objective or objective_of(job, bench)
        self.parameters = bench.network.parameters()
        groups = rate_groups(settings, dict(bench.network.named_parameters()), bench.family.text_parts)
        self.optimizer = make_optimizer(
            settings.optimizer,
            groups,
            groups[0]["lr"],
            settings.optimizer_params,
            bench.device,
            settings.weights_dtype == "bf16" and not bench.network.is_adapter,
            settings.fused_backward_pass and not bench.network.is_adapter,
        )
        if settings.fused_backward_pass and isinstance(self.optimizer, EachOptimizer):
            self.optimizer.step_in_backward(settings.max_grad_norm)
        self.schedule = make_schedule(settings, self.optimizer)
        self.average: Average | None = None
        self.begin_average()
        self.changed: list[dict[str, Any]] = []
        """Settings that were changed on the way, see ``changes``."""
        self._data = data_summary(job, bench.loader.items)
        self.rng = torch.Generator(bench.device)
        self.scaler = torch.amp.GradScaler(bench.device.type, enabled=bench.dtype == torch.float16)
        self.clock: Idle = Clock(bench, every) if (every := job.logging.performance_log_every) else Idle()

    @property
    def lr(self) -> float:
        """Of the denoiser; where the optimizer finds it by itself, as it found it."""
        group = self.optimizer.param_groups[0]
        return group["lr"] * group.get("d", 1.0)

    def learn(self) -> Tensor:
        """One optimizer step over all micro-batches; their mean loss, still on the device."""
        count = self.job.train.gradient_accumulation
        total = torch.zeros((), device=self.bench.device)
        micros = range(self.step * count, (self.step + 1) * count)
        with self.clock.step(self.step + 1, micros):
            for micro in micros:
                total += self._micro(micro) / count
            with self.clock.phase("optimizer"):
                self._move()
        return total

    def _micro(self, micro: int) -> Tensor:
        """The gradients of a micro-batch are added; its loss."""
        self._seed(micro)
        total = torch.zeros((), device=self.bench.device)
        # the strength holds until a part is differentiated: checkpointing computes forward again
        with self.clock.micro(micro), self.bench.with_strength(micro), contextlib.closing(self._losses(micro)) as losses:
            for loss in losses:
                with self.clock.phase("backward"):
                    self.scaler.scale(loss / self.job.train.gradient_accumulation).backward()
                total += loss.detach()
        return total

    def _move(self) -> None:
        """The weights, along their gradients."""
        self.scaler.unscale_(self.optimizer)
        if self.job.train.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.job.train.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._advance()
        if self.average:
            self.average.step()

    def _losses(self, micro: int) -> Generator[Tensor, None, None]:
        with self.clock.phase("waiting"), autocast(self.bench.device, self.bench.dtype):
            batch = self.bench.batch(micro)
        with self.bench.network.shown(batch.shown), contextlib.closing(self.objective.losses(self.bench.family, batch, self.rng)) as parts:
            while True:
                # autocast is thread-local: not held while a part is differentiated
                with self.clock.phase("forward"), autocast(self.bench.device, self.bench.dtype):
                    part = next(parts, None)
                if part is None:
                    return
                yield part

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

    def told(self) -> dict[str, Any]:
        """Settings and data, as they are kept with a state to tell what has changed since."""
        return summary(self.job, self._data)

    def change(self, job: TrainJob) -> None:
        """Go on with other rates and another length, as if the run had been started so."""
        self.job = self.bench.job = job
        groups = rate_groups(job.train, dict(self.bench.network.named_parameters()), self.bench.family.text_parts)
        set_rates(self.optimizer, job.train.optimizer, groups)
        self.schedule = make_schedule(job.train, self.optimizer)
        set_step(self.schedule, self.step)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the network has its averaged weights, where there is an average."""
        if OPTIMIZERS[self.job.train.optimizer].averages:
            return shown(self.optimizer)
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
            tensors={group: {name: t.detach().cpu().clone() for name, t in some.items()} for group, some in tensors.items()},
            values={
                "optimizer": values,
                "ema_steps": average_steps,
                "scaler": self.scaler.state_dict(),
                "job": _identity(self.job),
                "changed": list(self.changed),
                "told": self.told(),
            },
        )

    def begin_average(self) -> None:
        """From the weights as they are now, where there is to be an average."""
        settings = self.job.train.ema_config
        self.average = Average(self.parameters, settings.ema_decay) if settings.use_ema else None

    def start_at(self, step: int) -> None:
        """Count from that step on, with the learning rate and the pictures that belong there."""
        self.step = step
        set_step(self.schedule, step)

    def load(self, state: State) -> None:
        """Continue as if never stopped. A job whose weights would not fit is refused with what changed."""
        if changed := _changes(state.values["job"], self.job):
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


def objective_of(job: TrainJob, bench: Bench) -> Objective:
    """What the job asks for, on the kind of model that the family is."""
    process = PROCESSES[bench.family.objective](job.train)
    if job.pair_slider:
        return Pairing(process, job.pair_slider, bench.network)
    if job.slider:
        return Sliding(process, job.slider, bench.network)
    if job.replacements:
        return Replacing(process, bench.network.disabled)
    return Regression(process, job.train, bench.network.disabled)


def _identity(job: TrainJob) -> dict[str, object]:
    """What must be the same for a state to fit, by key."""
    sections = {name: getattr(job, name) for name in ("network", "embedding", "decorator", "adapter") if getattr(job, name)}
    return {
        "model.name_or_path": job.model.name_or_path,
        **{
            f"{name}.{key}": value
            for name, section in sections.items()
            for key, value in section.model_dump(mode="json").items()
            if key != "test_img_path"
        },
        "train.optimizer": job.train.optimizer,
        "train.fused_backward_pass": job.train.fused_backward_pass,
        "train.weights_dtype": job.train.weights_dtype,
        "train.train_unet": job.train.train_unet,
        "train.train_text_encoder": job.train.train_text_encoder,
        "train.ema_config.use_ema": job.train.ema_config.use_ema,
    }


def _changes(then: dict[str, object], job: TrainJob) -> str:
    """In words. A setting that there was not yet, then, was as it is when nobody asks for anything."""
    now = _identity(job)
    then = {key: _usual(job, key) for key in now if not key.endswith(".type")} | then
    keys = sorted(key for key in now if then.get(key) != now[key]) or sorted(then.keys() - now)
    return ", ".join(f"{key} was {then.get(key)!r}, is {now.get(key)!r}" for key in keys)


def _usual(job: TrainJob, key: str) -> object:
    *path, name = key.split(".")
    section = functools.reduce(getattr, path, job)
    return type(section).model_fields[name].get_default(call_default_factory=True)
