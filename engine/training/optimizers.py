"""Optimizers by name: a table of the classes of torch, transformers, bitsandbytes and pytorch-optimizer. Tried with
transformers 5.23, bitsandbytes 0.50 and pytorch-optimizer 4.1.

What an optimizer remembers is in ``optimizer_state``.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import JobError
from ..events import Event, Warned
from ..jobs import Adapter, Full, TrainJob
from ..jobs.train import OptimizerName, Train
from ..runtime.device import pick_dtype
from .rounding import EachOptimizer, RoundedOptimizer, in_full

__all__ = ["OPTIMIZERS", "Row", "make_optimizer", "optimizer_notes", "rate_groups", "set_rates", "shown"]

DECAYING = ("linear", "cosine", "cosine_with_restarts", "polynomial", "step", "piecewise_constant", "warmup_stable_decay")


@dataclass(frozen=True)
class Row:
    """Where an optimizer is, and what the trainer must know of it."""

    place: str
    """module:class"""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Options that differ from the class's own, for small networks beside frozen weights."""
    on_cards: str | None = None
    """The class that takes its place on a graphics card: with states of 8 bits."""
    finds_rate: bool = False
    """It estimates the rate by itself, one for all weights; lr is a factor on that, and should be 1."""
    averages: bool = False
    """Schedule-free: the weights that are trained are not those that are to be shown."""
    by_shape: bool = False
    """It has one rule for matrices and another for the rest, and is told which is which."""
    state_bytes: float = 8
    """What it remembers of each weight; that of ``on_cards`` is a quarter."""
    waits: bool = False
    """It reads a number from the device in each step, so that the processor cannot run ahead of a graphics card."""


_LIBRARY = "pytorch_optimizer"
OPTIMIZERS: dict[OptimizerName, Row] = {
    "adam": Row("torch.optim:Adam"),
    "adamw": Row("torch.optim:AdamW"),
    "adam8bit": Row("torch.optim:Adam", on_cards="bitsandbytes.optim:Adam8bit"),
    "adamw8bit": Row("torch.optim:AdamW", on_cards="bitsandbytes.optim:AdamW8bit"),
    "lion": Row(f"{_LIBRARY}:Lion", state_bytes=4),
    "lion8bit": Row(f"{_LIBRARY}:Lion", on_cards="bitsandbytes.optim:Lion8bit", state_bytes=4),
    "adagrad": Row("torch.optim:Adagrad", state_bytes=4),
    # torch's own multiplies the rate by the size of the weights, which is nothing where a LoRA begins
    "adafactor": Row("transformers.optimization:Adafactor", {"scale_parameter": False, "relative_step": False, "warmup_init": False}, state_bytes=0.1),
    "ademamix": Row(f"{_LIBRARY}:AdEMAMix", state_bytes=12),
    "ademamix8bit": Row(f"{_LIBRARY}:AdEMAMix", on_cards="bitsandbytes.optim:AdEMAMix8bit", state_bytes=12),
    "came": Row(f"{_LIBRARY}:CAME", state_bytes=4.1),
    "muon": Row(f"{_LIBRARY}:Muon", by_shape=True, state_bytes=4),
    "automagic": Row("engine.training.automagic:Automagic", state_bytes=5),
    "prodigy": Row(f"{_LIBRARY}:Prodigy", finds_rate=True, waits=True, state_bytes=16),
    "prodigy8bit": Row(f"{_LIBRARY}:Prodigy", finds_rate=True, waits=True, state_bytes=16),
    "prodigy-schedule-free": Row("engine.training.schedule_free:ScheduleFreeProdigy", finds_rate=True, averages=True, waits=True, state_bytes=20),
    "dadaptadam": Row(f"{_LIBRARY}:DAdaptAdam", finds_rate=True, waits=True, state_bytes=12),
    "dadaptlion": Row(f"{_LIBRARY}:DAdaptLion", finds_rate=True, waits=True),
    "dadaptadagrad": Row(f"{_LIBRARY}:DAdaptAdaGrad", finds_rate=True, waits=True, state_bytes=12),
    "schedule-free": Row(f"{_LIBRARY}:ScheduleFreeAdamW", averages=True),
}  # fmt: skip
LEAST_FACTOR = 0.1
"""An lr below this is meant for other optimizers than those that find the rate by themselves."""


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
        kind, rate = ("embedding", word) if rest == "embedding" else ("text encoders", text) if part in text_parts else ("denoiser", denoiser)
        name = kind + (", second matrices" if is_up else "")
        rate *= ratio if is_up else 1.0
        groups.setdefault(name, {"name": name, "params": [], "lr": rate})["params"].append(weight)
    if settings.unet_lr is None and settings.text_encoder_lr is None and settings.embedding_lr is None and ratio == 1:
        return [{"name": "all", "params": list(named.values()), "lr": denoiser}]
    if OPTIMIZERS[settings.optimizer].finds_rate and len(groups) > 1:
        raise JobError(
            f"{settings.optimizer} finds one rate for all weights: unet_lr, text_encoder_lr, embedding_lr and loraplus_lr_ratio cannot act.",
            "Leave them out, or choose another optimizer.",
        )
    return sorted(groups.values(), key=lambda group: group["name"])


def set_rates(optimizer: torch.optim.Optimizer, name: OptimizerName, groups: Sequence[Mapping[str, Any]]) -> None:
    """The rates of ``rate_groups`` in an optimizer that is at work; what it split off by shape keeps its own."""
    rates = {group["name"]: _rate(OPTIMIZERS[name], group["lr"]) for group in groups}
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = rates.get(group["name"], group["initial_lr"])


def optimizer_notes(job: TrainJob, device: torch.device) -> Iterator[Event]:
    """What of the job's settings has no effect on its optimizer and its rates; contradictions are errors."""
    settings, row = job.train, OPTIMIZERS[job.train.optimizer]
    if settings.optimizer == "prodigy8bit":
        yield Warned(message="There is no Prodigy with 8 bits: plain Prodigy is used, which needs more memory.", hint="Set train.optimizer to prodigy to say so.")
    elif row.on_cards and not has_8bit(device):
        plain = settings.optimizer.removesuffix("8bit")
        yield Warned(
            message=f"{settings.optimizer} needs a graphics card; {plain}, with states of 32 bits, is used instead.",
            hint=f"Set train.optimizer to {plain} to say so.",
        )
    rate = settings.lr if settings.unet_lr is None else settings.unet_lr
    if row.finds_rate and rate < LEAST_FACTOR:
        yield Warned(
            message=f"{settings.optimizer} finds the learning rate by itself, and lr is a factor on it: 1 is taken instead of {rate:g}.",
            hint="Set train.lr to 1 to say so; 0.1 is the least that it can be.",
        )
    if row.averages and settings.ema_config.use_ema:
        raise JobError(
            f"{settings.optimizer} averages the weights by itself: an average of that average cannot be continued from.",
            "Set train.ema_config.use_ema to false.",
        )
    if row.averages and settings.lr_scheduler in DECAYING:
        yield Warned(
            message=f"{settings.optimizer} does without a schedule; with lr_scheduler {settings.lr_scheduler} the last steps hardly count.",
            hint="Set train.lr_scheduler to constant.",
        )
    if settings.weights_dtype == "bf16" and not isinstance(job.network, Full):
        yield Warned(message="train.weights_dtype has no effect: the weights of an adapter are few, and fp32.", hint="It is for network.type full.")
    elif settings.weights_dtype == "bf16":
        if row.finds_rate or row.averages or settings.ema_config.use_ema:
            what = "train.ema_config.use_ema" if settings.ema_config.use_ema else settings.optimizer
            raise JobError(
                f"{what} needs weights with more digits than train.weights_dtype bf16 has.", "Set train.weights_dtype to fp32, or leave that out."
            )
        if pick_dtype(settings.dtype, device) != torch.bfloat16:
            raise JobError("Weights in bf16 (train.weights_dtype) are computed with in bf16 too.", "Set train.dtype to bf16, or train.weights_dtype to fp32.")
    yield from _in_backward(job, device)
    if settings.lr_warmup_steps >= settings.steps:
        yield Warned(message="lr_warmup_steps is not below steps: the learning rate never gets to its height.", hint="Lower train.lr_warmup_steps.")
    if settings.lr_scheduler == "constant_with_warmup" and not settings.lr_warmup_steps:
        yield Warned(message="lr_scheduler constant_with_warmup without lr_warmup_steps is constant.", hint="Set train.lr_warmup_steps.")
    if settings.lr_scheduler == "piecewise_constant" and settings.lr_warmup_steps:
        yield Warned(message="lr_warmup_steps has no effect with piecewise_constant.", hint="Write the steps of the warm-up into step_rules.")
    if settings.text_encoder_lr is not None and not settings.train_text_encoder:
        yield Warned(message="train.text_encoder_lr has no effect: the text encoders are not trained.", hint="Set train.train_text_encoder to true.")
    if settings.embedding_lr is not None and job.embedding is None:
        yield Warned(message="train.embedding_lr has no effect: there is no embedding.")
    if settings.loraplus_lr_ratio and (isinstance(job.network, Full) or (isinstance(job.network, Adapter) and job.network.type not in ("lora", "dora"))):
        yield Warned(message=f"train.loraplus_lr_ratio has no effect on a {job.network.type}: it is for the second matrix of a LoRA or DoRA.")


def _in_backward(job: TrainJob, device: torch.device) -> Iterator[Event]:
    """Of steps that are made before all gradients are there."""
    settings, row = job.train, OPTIMIZERS[job.train.optimizer]
    if not settings.fused_backward_pass:
        return
    if not isinstance(job.network, Full):
        yield Warned(message="train.fused_backward_pass has no effect: the gradients of an adapter are few.", hint="It is for network.type full.")
        return
    if settings.gradient_accumulation > 1:
        raise JobError(
            "train.fused_backward_pass makes a step with every batch, and train.gradient_accumulation waits for several.", "Leave one of the two out."
        )
    if row.finds_rate or row.averages:
        raise JobError(f"{settings.optimizer} looks at all weights at once, which train.fused_backward_pass never has.", "Choose adamw or adafactor, or leave it out.")
    if pick_dtype(settings.dtype, device) == torch.float16:
        raise JobError("train.fused_backward_pass cannot take back a step whose gradients are too large for fp16.", "Set train.dtype to bf16 or fp32.")


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
