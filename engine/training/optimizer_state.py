"""What an optimizer remembers, as tensors and plain values, bit for bit. The options of a job are none of it.

It is taken from the optimizer itself and not from ``state_dict``, which some libraries wrap, and which loads all
floating-point numbers in the precision of the weights.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..errors import JobError

_OPTIONS = {"params", "lr", "initial_lr", "start_lr", "name", "use_muon", "betas", "eps"}
"""Keys of a group that follow from the job, beside the arguments of the class."""


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of each weight as ``<index>.<key>``, that of each group as ``group.<index>.<key>``."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {"class": type(optimizer).__name__, "groups": _shape(optimizer)}
    for prefix, part in _parts(optimizer):
        for index, weight in enumerate(_weights(part)):
            for key, value in part.state.get(weight, {}).items():
                (tensors if isinstance(value, Tensor) else values)[f"{prefix}{index}.{key}"] = value
        options = _options(part)
        for index, group in enumerate(_groups(part)):
            for key, value in group.items():
                if key not in options:
                    (tensors if isinstance(value, Tensor) else values)[f"{prefix}group.{index}.{key}"] = value
    return tensors, values


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """The inverse of ``optimizer_tensors``. Options stay those of the job; other groups of weights are an error."""
    if "groups" in values and values["groups"] != _shape(optimizer):
        raise JobError(
            "This run was started with other groups of learning rates.",
            "Set unet_lr, text_encoder_lr and loraplus_lr_ratio as they were, or choose another name for a new run.",
        )
    if values.get("class", own := type(optimizer).__name__) != own:
        raise JobError(
            f"This run was started with the optimizer {values['class']}, and is continued with {own}: 8-bit optimizers are for graphics cards.",
            "Continue it on a machine like the first, or choose another name for a new run.",
        )
    saved = {**tensors, **{name: value for name, value in values.items() if name not in ("class", "groups")}}
    for prefix, part in _parts(optimizer):
        weights = _weights(part)
        home = weights[0].device
        for name in [name for name in saved if name.startswith(prefix)]:
            first, _, key = name.removeprefix(prefix).partition(".")
            if first == "group":
                index, _, key = key.partition(".")
                part.param_groups[int(index)][key] = _copy(saved.pop(name), home)
            elif first.isdecimal():
                weight = weights[int(first)]
                # torch counts its steps on the processor, so that nobody waits for them
                device = torch.device("cpu") if key == "step" and not _counts_on_device(part) else weight.device
                part.state[weight][key] = _copy(saved.pop(name), device)


def _parts(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.optim.Optimizer]]:
    """The one inside, where one wraps another, and itself."""
    if isinstance(inner := getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        for name, part in _parts(inner):
            yield f"inner.{name}", part
    yield "", optimizer


def _groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """A wrapper shares those of the one inside, which has them already."""
    return [] if isinstance(getattr(optimizer, "optimizer", None), torch.optim.Optimizer) else optimizer.param_groups


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _shape(optimizer: torch.optim.Optimizer) -> list[list[Any]]:
    return [[group.get("name", "all"), len(group["params"])] for group in optimizer.param_groups]


def _options(optimizer: torch.optim.Optimizer) -> set[str]:
    return _OPTIONS | set(inspect.signature(type(optimizer).__init__).parameters)


def _counts_on_device(optimizer: torch.optim.Optimizer) -> bool:
    return any(group.get("capturable") or group.get("fused") for group in optimizer.param_groups)


def _copy(value: Any, device: torch.device) -> Any:
    return value.detach().clone().to(device) if isinstance(value, Tensor) else value
