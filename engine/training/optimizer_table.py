"""The table of optimizers: classes of torch, transformers, bitsandbytes and pytorch-optimizer. No torch here. Tried with
transformers 5.23, bitsandbytes 0.50 and pytorch-optimizer 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import JobError
from ..events import Event, Warned
from ..jobs import Adapter, Full, Nothing, TrainJob
from ..jobs.train import OptimizerName

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
    # fused: one pass over all weights, a fifth of the time for many small ones, and no copies of large ones
    "adam": Row("torch.optim:Adam", {"fused": True}),
    "adamw": Row("torch.optim:AdamW", {"fused": True}),
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


def optimizer_notes(job: TrainJob) -> Iterator[Event]:
    """What of the job's settings has no effect on its optimizer and its rates, whatever the device; contradictions are errors."""
    settings, row = job.train, OPTIMIZERS[job.train.optimizer]
    if settings.optimizer == "prodigy8bit":
        yield Warned(
            message="There is no Prodigy with 8 bits: plain Prodigy is used, which needs more memory.",
            hint="Set train.optimizer to prodigy to say so.",
        )
    rate = settings.lr if settings.unet_lr is None else settings.unet_lr
    if row.finds_rate and rate < LEAST_FACTOR:
        yield Warned(
            message=f"{settings.optimizer} finds the learning rate by itself, and lr is a factor on it: 1 is taken instead of {rate:g}.",
            hint="Set train.lr to 1 to say so; 0.1 is the least that it can be.",
        )
    if row.finds_rate and _asks_for_several_rates(job):
        raise one_rate_only(settings.optimizer)
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
        yield Warned(
            message="train.weights_dtype has no effect: the weights of an adapter are few, and fp32.", hint="It is for network.type full."
        )
    elif settings.weights_dtype == "bf16" and (row.finds_rate or row.averages or settings.ema_config.use_ema):
        what = "train.ema_config.use_ema" if settings.ema_config.use_ema else settings.optimizer
        raise JobError(
            f"{what} needs weights with more digits than train.weights_dtype bf16 has.",
            "Set train.weights_dtype to fp32, or leave that out.",
        )
    yield from _in_backward(job)
    if settings.lr_warmup_steps >= settings.steps:
        yield Warned(
            message="lr_warmup_steps is not below steps: the learning rate never gets to its height.", hint="Lower train.lr_warmup_steps."
        )
    if settings.lr_scheduler == "constant_with_warmup" and not settings.lr_warmup_steps:
        yield Warned(message="lr_scheduler constant_with_warmup without lr_warmup_steps is constant.", hint="Set train.lr_warmup_steps.")
    if settings.lr_scheduler == "piecewise_constant" and settings.lr_warmup_steps:
        yield Warned(
            message="lr_warmup_steps has no effect with piecewise_constant.", hint="Write the steps of the warm-up into step_rules."
        )
    if settings.text_encoder_lr is not None and not settings.train_text_encoder:
        yield Warned(
            message="train.text_encoder_lr has no effect: the text encoders are not trained.", hint="Set train.train_text_encoder to true."
        )
    if settings.embedding_lr is not None and job.embedding is None:
        yield Warned(message="train.embedding_lr has no effect: there is no embedding.")
    if settings.loraplus_lr_ratio and (
        isinstance(job.network, Full) or (isinstance(job.network, Adapter) and job.network.type not in ("lora", "dora"))
    ):
        yield Warned(
            message=f"train.loraplus_lr_ratio has no effect on a {job.network.type}: it is for the second matrix of a LoRA or DoRA."
        )


def _in_backward(job: TrainJob) -> Iterator[Event]:
    """Of steps that are made before all gradients are there."""
    settings, row = job.train, OPTIMIZERS[job.train.optimizer]
    if not settings.fused_backward_pass:
        return
    if not isinstance(job.network, Full):
        yield Warned(
            message="train.fused_backward_pass has no effect: the gradients of an adapter are few.", hint="It is for network.type full."
        )
        return
    if settings.gradient_accumulation > 1:
        raise JobError(
            "train.fused_backward_pass makes a step with every batch, and train.gradient_accumulation waits for several.",
            "Leave one of the two out.",
        )
    if row.finds_rate or row.averages:
        raise JobError(
            f"{settings.optimizer} looks at all weights at once, which train.fused_backward_pass never has.",
            "Choose adamw or adafactor, or leave it out.",
        )


def _asks_for_several_rates(job: TrainJob) -> bool:
    settings = job.train
    learn = [not isinstance(job.network, Nothing), settings.train_text_encoder, job.embedding is not None]
    given = (settings.unet_lr, settings.text_encoder_lr, settings.embedding_lr)
    second = (settings.loraplus_lr_ratio or 1) != 1 and job.network.type in ("lora", "dora")
    return second or (sum(learn) > 1 and any(rate is not None for rate in given))


def one_rate_only(optimizer: OptimizerName) -> JobError:
    return JobError(
        f"{optimizer} finds one rate for all weights: unet_lr, text_encoder_lr, embedding_lr and loraplus_lr_ratio cannot act.",
        "Leave them out, or choose another optimizer.",
    )
