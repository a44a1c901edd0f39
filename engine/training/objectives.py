"""What the model is asked to predict, and how far off it is. The loop is cut here, and only here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from ..errors import JobError
from ..families.base import Conditioning, ModelFamily
from ..jobs.train import TimestepType, Train
from .answers import as_level, drawn_between, guided, guided_target, mean_velocity, spectra_differ
from .losses import LOSSES
from .noise import Noise, like
from .timesteps import Levels, level_weights


@dataclass(frozen=True)
class Batch:
    """Pictures of one size, on the device: the posterior of their latents [B C H W], and their text."""

    mean: Tensor
    std: Tensor
    cond: Conditioning
    span: tuple[float, float] = (0.0, 1.0)
    """The noise levels that are practised on it."""
    mask: Tensor | None = None
    """What of each picture is learned, 0 to 1, in a shape that fits the latents; None for all."""
    weights: Tensor | None = None
    """How much each picture counts [B]; None for all alike."""
    is_prior: bool = False
    """What is learned is what the base model says."""
    others: Mapping[str, Conditioning] = field(default_factory=dict)
    """Further prompts for the same pictures: unconditional, class, blank."""
    identities: Sequence[int] = ()
    """A number for each picture at its size, the same each time it comes."""
    shown: Sequence[Tensor] = ()
    """Control pictures, as the network takes them."""

    def draw(self, rng: torch.Generator) -> Tensor:
        """Latents drawn from the posterior, in fp32: another draw each time a picture comes.

        In half precision the first noise levels of a schedule would be none at all.
        """
        std = self.std.float()
        return self.mean.float() + std * like(std, rng)


@dataclass(frozen=True)
class Noised:
    """What the model is shown, at which noise level [B] as ``predict`` takes it, and the right answer."""

    latents: Tensor
    sigma: Tensor
    answer: Tensor
    weights: Tensor | None = None
    """How much each level counts in the loss [B]; None for all alike."""
    lead: Tensor | None = None
    """How far apart the pictures are that two answers lead to, which differ by 1 [B]; None: by the share of noise, as in a flow."""

    def led(self, answer: Tensor) -> Tensor:
        """What of the picture that an answer leads to depends on the answer, but for its sign."""
        return as_level(self.sigma if self.lead is None else self.lead, answer) * answer


class Process(Protocol):
    """How noise comes into pictures, and what the model says of them then."""

    def noised(self, family: ModelFamily, clean: Tensor, batch: Batch, rng: torch.Generator) -> Noised: ...


@dataclass(frozen=True)
class FlowMatching:
    """Rectified flow: straight lines from pictures to noise, and the model predicts their direction."""

    settings: Train = field(default_factory=Train)

    def noised(self, family: ModelFamily, clean: Tensor, batch: Batch, rng: torch.Generator) -> Noised:
        noise = Noise.of(self.settings).draw(clean, rng, batch.identities)
        tokens = clean.shape[-2] * clean.shape[-1] // family.latent_multiple**2
        levels = levels_of(self.settings, "sigmoid")
        sigma = levels.draw(len(clean), tokens, rng, batch.span)
        seen = Noised(along(clean, noise, sigma), sigma, noise - clean, weights_of(self.settings, levels.kind, sigma))
        return self._after_a_step(family, clean, batch, seen) if levels.kind == "next_sample" else seen

    def _after_a_step(self, family: ModelFamily, clean: Tensor, batch: Batch, seen: Noised) -> Noised:
        """As a sampler would come there: by the model's own answer, one step before, with the noise that then leads from the picture to it."""
        sigma, before = seen.sigma, seen.sigma + 1 / self.settings.next_sample_timesteps
        with torch.no_grad():
            start = along(clean, clean + seen.answer, before)
            answer = family.predict(start, before, batch.cond).float()
            reached = start + as_level(sigma - before, clean) * answer
        noise = (reached - (1 - as_level(sigma, clean)) * clean) / as_level(sigma, clean)
        return Noised(reached, sigma, noise - clean, seen.weights)


@dataclass
class Denoising:
    """Noise is added by the schedule of the model's scheduler, and the model predicts what its ``prediction_type`` says."""

    settings: Train = field(default_factory=Train)
    _schedule: DDPMScheduler | None = None

    def noised(self, family: ModelFamily, clean: Tensor, batch: Batch, rng: torch.Generator) -> Noised:
        if self._schedule is None:  # made once: it stays on the device
            self._schedule = schedule_of(family)
        schedule, noise = self._schedule, Noise.of(self.settings).draw(clean, rng, batch.identities)
        count, levels = schedule.config.num_train_timesteps, levels_of(self.settings, "linear")
        time = (levels.draw(len(clean), 0, rng) * count).long().clamp(max=count - 1)
        prediction = schedule.config.prediction_type
        answer = {
            "epsilon": lambda: noise,
            "v_prediction": lambda: schedule.get_velocity(clean, noise, time),
            "sample": lambda: clean,
        }[prediction]()
        weights = weights_of(self.settings, levels.kind, time / count)
        if self.settings.min_snr_gamma or self.settings.snr_gamma:
            by_signal = signal_weights(compute_snr(schedule, time), prediction, self.settings.min_snr_gamma, self.settings.snr_gamma)
            weights = by_signal if weights is None else weights * by_signal
        return Noised(
            schedule.add_noise(clean, noise, time), time / count, answer, weights, picture_leads(compute_snr(schedule, time), prediction)
        )


PROCESSES: dict[str, Callable[[Train], Process]] = {"flow": FlowMatching, "denoising": Denoising}


def levels_of(settings: Train, usual: TimestepType) -> Levels:
    """How the job draws noise levels. Its own are counted from the noisiest: 0 is noise alone."""
    low = 1 - (settings.max_denoising_steps + 1) / 1000
    high = 1 - settings.min_denoising_steps / 1000
    kind = settings.timestep_type or usual
    return Levels(kind, settings.content_or_style, low, high, settings.stratified_timesteps, settings.next_sample_timesteps)


def weights_of(settings: Train, kind: TimestepType, sigma: Tensor) -> Tensor | None:
    return level_weights(sigma, kind, settings.linear_timesteps, settings.linear_timesteps2)


def signal_weights(snr: Tensor, prediction: str, least: float | None, fixed: float | None) -> Tensor:
    """Weights by the ratio of signal to noise, after Hang et al. 2023: at most ``least`` of it counts, or always ``fixed``."""
    kept = torch.full_like(snr, fixed) if fixed else snr.clamp(max=least)
    scale = {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}[prediction]
    return kept / scale.clamp(min=1e-4)


def picture_leads(snr: Tensor, prediction: str) -> Tensor:
    """How far a picture moves with the answer that it is reckoned from, at this ratio of signal to noise [B]. For noise that is its share over that
    of the picture (Salimans and Ho 2022, section 4); where nothing is left of the picture, as far as at a thousandth of it."""
    return {"epsilon": snr.clamp(min=1e-6).rsqrt(), "v_prediction": (snr + 1).rsqrt(), "sample": torch.ones_like(snr)}[prediction]


def along(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The place on the line from pictures to noise."""
    level = as_level(sigma, clean)
    return (1 - level) * clean + level * noise


class Objective(Protocol):
    def losses(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Generator[Tensor, None, None]:
        """Parts of the mean loss of a batch, scalars in fp32, each with a graph of its own: they may be differentiated one after the other.

        Everything that is drawn is drawn from ``rng``.
        """


@dataclass(frozen=True)
class Asked:
    """What the model says of one noised batch."""

    family: ModelFamily
    batch: Batch
    cond: Conditioning
    seen: Noised

    def __call__(self, kind: str = "") -> Tensor:
        """With one of the batch's other prompts; the empty name is the caption."""
        return self._answer(self.seen.latents, self.seen.sigma, {**self.cond, **self.batch.others.get(kind, {})})

    def at(self, latents: Tensor, sigma: Tensor) -> Tensor:
        """Of other latents, at other levels."""
        return self._answer(latents, sigma, self.cond)

    def _answer(self, latents: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        return self.family.predict_within(self.batch.span, latents, sigma, cond).float()


@dataclass
class Regression:
    """The model's answer is to be the right one; what it was not asked about may be held to what it was before."""

    process: Process
    settings: Train = field(default_factory=Train)
    base: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    """Inside, the model is the base model."""

    def loss(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Tensor:
        """All parts together."""
        return torch.stack(list(self.losses(family, batch, rng))).sum()

    def losses(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Generator[Tensor, None, None]:
        settings, clean = self.settings, batch.draw(rng)
        seen = self.process.noised(family, clean, batch, rng)
        cond = family.practise(clean, batch.cond, rng)
        counts = family.counts(seen.latents, cond)
        weights = seen.weights if batch.weights is None else batch.weights if seen.weights is None else batch.weights * seen.weights

        asked = Asked(family, batch, cond, seen)
        strength = (
            drawn_between(settings.cfg_scale, settings.max_cfg_scale or settings.cfg_scale, len(clean), rng) if settings.do_cfg else None
        )

        def answer() -> Tensor:
            """With guidance, where that is practised."""
            return asked() if strength is None else guided(asked(), asked("unconditional"), strength)

        def before(ask: Callable[[], Tensor]) -> Tensor:
            with torch.no_grad(), self.base():
                return ask()

        def difference(said: Tensor, right: Tensor) -> Tensor:
            if settings.t0_loss_target:  # both from the same place: so far apart are the pictures that they lead to
                said, right = seen.led(said), seen.led(right)
            return LOSSES[settings.loss_type](said, right, seen.sigma)

        outside = 1 - batch.mask if batch.mask is not None and settings.inverted_mask_prior else None
        was = before(answer) if batch.is_prior or outside is not None else None
        right = was if batch.is_prior and was is not None else self._right(asked, rng)
        said = answer()
        if settings.do_differential_guidance:
            right = said.detach() + settings.differential_guidance_scale * (right - said.detach())
        inside = joined(counts, batch.mask)
        loss = averaged(difference(said, right), inside, weights, settings.max_loss)
        if settings.do_fft_loss:
            loss = loss + averaged(self._spectra(seen, said, right, inside), None, weights)
        if outside is not None and was is not None:
            kept = averaged(difference(said, was), joined(counts, outside), weights)
            loss = loss + settings.inverted_mask_prior_multiplier * kept
        yield loss
        for kind, multiplier in KEPT.items():
            if kind in batch.others:
                right = before(partial(asked, kind))
                yield getattr(settings, multiplier) * averaged((asked(kind) - right).square(), counts, weights)

    def _right(self, asked: Asked, rng: torch.Generator) -> Tensor:
        """The right answer, as the job changes it."""
        seen, right = asked.seen, asked.seen.answer
        if self.settings.do_guidance_loss and "unconditional" in asked.batch.others:
            with torch.no_grad():
                away = asked("unconditional")
            right = guided_target(right, away, seen.sigma, self.settings, rng)
        return mean_velocity(asked.at, seen.latents, seen.sigma, right, asked.batch.span) if self.settings.mean_flow else right

    def _spectra(self, seen: Noised, said: Tensor, right: Tensor, inside: Tensor | None) -> Tensor:
        """How far the spectra of the pictures differ that two answers lead to. What does not count is as it should be in both."""
        level = as_level(seen.sigma, said)
        found, wanted = seen.latents - level * said, seen.latents - level * right
        differ = spectra_differ(found if inside is None else wanted + inside * (found - wanted), wanted)
        return differ / level.clamp(min=0.1).square() if self.settings.do_fft_velocity_equiv_weight else differ


KEPT = {"class": "diff_output_preservation_multiplier", "blank": "blank_prompt_preservation_multiplier"}
"""Other prompts whose answers are to stay as they were, and how much each counts."""


def joined(counts: Tensor | None, mask: Tensor | None) -> Tensor | None:
    return mask if counts is None else counts if mask is None else counts * mask


def averaged(error: Tensor, counts: Tensor | None, weights: Tensor | None, most: float | None = None) -> Tensor:
    """The mean over each picture, of what counts in it, and over the pictures by their weights.

    A picture counts the same however little of it is learned; one of which nothing counts adds nothing; none counts more than ``most``.
    """
    if counts is None and weights is None and most is None:
        return error.mean()
    counts = torch.ones_like(error) if counts is None else counts.expand_as(error)
    each = (error * counts).flatten(1).sum(1) / counts.flatten(1).sum(1).clamp(min=1e-6)
    if most is not None:  # its direction stays, and its length is that of a loss of so much
        each = each * (most / each.detach().clamp(min=1e-12)).clamp(max=1)
    return (each if weights is None else each * weights).mean()


def schedule_of(family: ModelFamily) -> DDPMScheduler:
    """The noise levels that the model's own scheduler was made for. Samplers scale what they add noise to, this does not."""
    schedule = DDPMScheduler.from_config(family.pipe.scheduler.config)
    if schedule.config.prediction_type not in ("epsilon", "v_prediction", "sample"):
        raise JobError(
            f"The model's scheduler says prediction_type {schedule.config.prediction_type}, which {family.title} does not know.",
            "Set it to epsilon or v_prediction in scheduler/scheduler_config.json of the model.",
        )
    return schedule
