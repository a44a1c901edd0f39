"""Optimizers by name, made from the rows of ``optimizer_table``. What an optimizer remembers is in ``optimizer_state``."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import JobError
from ..events import Event, Warned
from ..jobs import Full, TrainJob
from ..jobs.train import OptimizerName, Train
from ..runtime.device import pick_dtype
from .optimizer_table import LEAST_FACTOR, OPTIMIZERS, Row, one_rate_only
from .rounding import EachOptimizer, RoundedOptimizer, in_full

__all__ = ["OPTIMIZERS", "Row", "device_notes", "make_optimizer", "rate_groups", "set_rates", "shown"]


def make_optimizer(
    name: OptimizerName,
    parameters: Sequence[nn.Parameter] | Sequence[dict[str, Any]],
    lr: float,
    options: Mapping[str, Any],
    device: torch.device,
    rounded: bool = False,
    each: bool = False,
) -> torch.optim.Optimizer:
    """The optimizer that a job names, of weights or of groups of them. An option that it does not have is an error.

    ``each``: one for each weight; ``rounded``: those, for weights in bf16, whose steps are rounded at random.
    """
    row = OPTIMIZERS[name]
    kind = _class(row, device)
    known = {key for key, one in inspect.signature(kind.__init__).parameters.items() if one.kind is not one.VAR_KEYWORD}
    known -= {"self", "params", "lr"}
    if unknown := sorted(set(options) - known):
        near = difflib.get_close_matches(unknown[0], known, 1)
        raise JobError(
            f"train.optimizer_params.{unknown[0]} is not an option of {name}.",
            f"{f'Did you mean {near[0]}? ' if near else ''}Known are: {', '.join(sorted(known))}.",
        )
    groups = _grouped(parameters, lr)
    if rounded or each:
        parts = []
        for group in groups:
            for weight in group["params"]:
                with in_full(weight):  # some make their state at once, in the precision of the weight
                    parts.append(make_optimizer(name, [{**group, "params": [weight]}], lr, options, device))
        return RoundedOptimizer(parts) if rounded else EachOptimizer(parts)
    if row.by_shape:
        groups = [part for group in groups for part in _by_shape(group)]
    try:
        optimizer = kind(groups, lr=_rate(row, lr), **{**row.defaults, **options})
    except (TypeError, ValueError) as error:
        raise JobError(f"train.optimizer_params do not suit {name}: {error}.", "Check their values.") from error
    optimizer.defaults.setdefault("lr", _rate(row, lr))  # diffusers' polynomial schedule looks it up there
    if row.averages:
        optimizer.train()
    if row.finds_rate:
        for group in optimizer.param_groups:
            group["lr"] = _rate(row, group["lr"])
    return optimizer


def rate_groups(settings: Train, named: Mapping[str, nn.Parameter], text_parts: Sequence[str]) -> list[dict[str, Any]]:
    """The weights by their learning rates, those of the denoiser first. ``text_parts`` are the first words of the names of the others."""
    denoiser = settings.lr if settings.unet_lr is None else settings.unet_lr
    text = settings.lr if settings.text_encoder_lr is None else settings.text_encoder_lr
    word = settings.lr if settings.embedding_lr is None else settings.embedding_lr
    ratio = settings.loraplus_lr_ratio or 1.0
    groups: dict[str, dict[str, Any]] = {}
    for path, weight in named.items():
        part, _, rest = path.partition(".")
        is_up = ".lora_B." in path and ratio != 1
        kind, rate = (
            ("embedding", word) if rest == "embedding" else ("text encoders", text) if part in text_parts else ("denoiser", denoiser)
        )
        name = kind + (", second matrices" if is_up else "")
        rate *= ratio if is_up else 1.0
        groups.setdefault(name, {"name": name, "params": [], "lr": rate})["params"].append(weight)
    if settings.unet_lr is None and settings.text_encoder_lr is None and settings.embedding_lr is None and ratio == 1:
        return [{"name": "all", "params": list(named.values()), "lr": denoiser}]
    if OPTIMIZERS[settings.optimizer].finds_rate and len(groups) > 1:
        raise one_rate_only(settings.optimizer)
    return sorted(groups.values(), key=lambda group: group["name"])


def set_rates(optimizer: torch.optim.Optimizer, name: OptimizerName, groups: Sequence[Mapping[str, Any]]) -> None:
    """The rates of ``rate_groups`` in an optimizer that is at work; what it split off by shape keeps its own."""
    rates = {group["name"]: _rate(OPTIMIZERS[name], group["lr"]) for group in groups}
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = rates.get(group["name"], group["initial_lr"])


def device_notes(job: TrainJob, device: torch.device) -> Iterator[Event]:
    """What of the job's optimizer and precision has no effect on this device; contradictions are errors."""
    settings, row = job.train, OPTIMIZERS[job.train.optimizer]
    if row.on_cards and not has_8bit(device):
        plain = settings.optimizer.removesuffix("8bit")
        yield Warned(
            message=f"{settings.optimizer} needs a graphics card; {plain}, with states of 32 bits, is used instead.",
            hint=f"Set train.optimizer to {plain} to say so.",
        )
    if not isinstance(job.network, Full):
        return
    if settings.weights_dtype == "bf16" and pick_dtype(settings.dtype, device) != torch.bfloat16:
        raise JobError(
            "Weights in bf16 (train.weights_dtype) are computed with in bf16 too.",
            "Set train.dtype to bf16, or train.weights_dtype to fp32.",
        )
    if settings.fused_backward_pass and pick_dtype(settings.dtype, device) == torch.float16:
        raise JobError(
            "train.fused_backward_pass cannot take back a step whose gradients are too large for fp16.", "Set train.dtype to bf16 or fp32."
        )


@contextlib.contextmanager
def shown(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, the weights are those that a schedule-free optimizer means; after it, the very bits that were there before."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    kept = [weight.detach().clone() for weight in weights]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
        with torch.no_grad():  # there and back is not exact
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)


def has_8bit(device: torch.device) -> bool:
    """States of 8 bits are kept on graphics cards only."""
    return device.type in {"cuda", "xpu"}


def _class(row: Row, device: torch.device) -> type[torch.optim.Optimizer]:
    place = row.on_cards if row.on_cards and has_8bit(device) else row.place
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _rate(row: Row, lr: float) -> float:
    return 1.0 if row.finds_rate and lr < LEAST_FACTOR else lr


def _grouped(parameters: Sequence[Any], lr: float) -> list[dict[str, Any]]:
    if parameters and isinstance(parameters[0], (nn.Parameter, Tensor)):
        return [{"name": "all", "params": list(parameters), "lr": lr}]
    return [dict(group) for group in parameters]


def _by_shape(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Matrices, and after them what is none, at the rate of ``adamw_lr``."""
    matrices = [weight for weight in group["params"] if weight.ndim >= 2]
    others = [weight for weight in group["params"] if weight.ndim < 2]
    if matrices:
        yield {**group, "params": matrices, "use_muon": True}
    if others:
        rest = {key: value for key, value in group.items() if key != "lr"}
        yield {**rest, "name": f"{group['name']}, no matrices", "params": others, "use_muon": False}
