"""Optimizers by name, and their state as tensors and plain values."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from ..errors import JobError
from ..jobs.train import OptimizerName


def make_optimizer(
    name: OptimizerName,
    parameters: list[torch.nn.Parameter],
    lr: float,
    options: dict[str, Any],
    device: torch.device,
) -> torch.optim.Optimizer:
    """The optimizer that a job names. An option that it does not have is an error."""
    kind = _class(name, device)
    known = set(inspect.signature(kind.__init__).parameters) - {"self", "params", "lr"}
    if unknown := sorted(set(options) - known):
        raise JobError(
            f"train.optimizer_params.{unknown[0]} is not an option of {name}.",
            f"Known are: {', '.join(sorted(known))}.",
        )
    try:
        return kind(parameters, lr=lr, **options)
    except (TypeError, ValueError) as error:
        raise JobError(
            f"train.optimizer_params do not suit {name}: {error}.", "Check their values."
        ) from error


def _class(name: OptimizerName, device: torch.device) -> type[torch.optim.Optimizer]:
    if name == "adamw" or not has_8bit(device):
        return torch.optim.AdamW
    import bitsandbytes

    return bitsandbytes.optim.AdamW8bit


def has_8bit(device: torch.device) -> bool:
    """bitsandbytes keeps 8-bit states on graphics cards only."""
    return device.type in {"cuda", "xpu"}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state as tensors named ``<parameter>.<key>``, and the plain values among it."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            (tensors if isinstance(value, Tensor) else values)[f"{index}.{key}"] = value
    return tensors, values


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], values: dict[str, Any]
) -> None:
    """The inverse of ``optimizer_tensors``. Options stay those of the job."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **values}.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
