"""A pause: the device is given away, and taken again, with everything as it was."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..control import Control
from ..events import Event, Phase, Warned
from ..runtime.device import free
from .bench import Bench
from .learner import Learner


def rest(bench: Bench, learner: Learner, control: Control) -> Iterator[Event]:
    """Until asked to go on, or to stop."""
    yield Phase(name=f"Paused after step {learner.step}")
    parts = parts_on(bench)
    if not parts and bench.device.type != "cpu":
        yield Warned(message="Quantized and offloaded weights stay on the graphics card during a pause; what is beside them makes room.")
    carry(parts, learner, torch.device("cpu"))
    free(bench.device)
    control.wait()
    carry(parts, learner, bench.device)
    yield Phase(name=f"Training, continued after step {learner.step}")


def carry(parts: list[torch.nn.Module], learner: Learner, device: torch.device) -> None:
    """The parts, what the optimizer remembers and the average, to a device. Values and the parameters themselves stay the same."""
    for part in parts:
        part.to(device)
    for state in learner.optimizer.state.values():
        for key, value in state.items():
            # a counter that the optimizer keeps on the processor stays there
            if isinstance(value, Tensor) and value.dim() > 0:
                state[key] = value.to(device)
    if learner.average:
        learner.average.model.shadow_params = [shadow.to(device) for shadow in learner.average.model.shadow_params]


def parts_on(bench: Bench) -> list[torch.nn.Module]:
    """Parts of the model that are on the device and can leave it."""
    if bench.device.type == "cpu" or bench.job.model.quantize or bench.job.model.layer_offloading:
        return []
    parts = [part for part in (*bench.family.pipe.components.values(), *bench.network.beside) if isinstance(part, torch.nn.Module)]
    return [part for part in parts if (first := next(part.parameters(), None)) is not None and first.device.type == bench.device.type]
