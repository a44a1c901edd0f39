"""The loss of models that were trained on a schedule of noise levels, whatever sampler their folder names."""

from __future__ import annotations

import pytest
import tiny
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, PNDMScheduler
from torch import Tensor

from engine.errors import JobError
from engine.families.catalog import load_family
from engine.families.defaults import ModelDefaults
from engine.training.objectives import Batch, Denoising, Regression, schedule_of

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


class Told:
    """A family that answers with what the test says, and keeps what it was asked."""

    title = "SD"

    def __init__(self, scheduler, answer=None):
        self.pipe = type("Pipe", (), {"scheduler": scheduler})()
        self.answer = answer
        self.asked: list[tuple[Tensor, Tensor]] = []

    def practise(self, clean, cond, rng):
        return cond

    def counts(self, noisy, cond):
        return None

    def predict_within(self, span, noisy, sigma, cond):
        self.asked.append((noisy, sigma))
        return self.answer(noisy, sigma) if self.answer else torch.zeros_like(noisy)


def alphas(schedule: DDPMScheduler, sigma: Tensor) -> Tensor:
    return schedule.alphas_cumprod[(sigma * 1000).round().long()].view(-1, 1, 1, 1)


@pytest.mark.parametrize("kind", [PNDMScheduler, DDIMScheduler, EulerDiscreteScheduler, DDPMScheduler])
def test_the_noise_levels_are_the_published_ones_whatever_the_sampler(kind):
    """Betas are squares of evenly spaced roots: 0.00085 to 0.012 in a thousand steps."""
    schedule = schedule_of(Told(kind(**BETAS)))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    torch.testing.assert_close(schedule.alphas_cumprod.double(), (1 - betas).cumprod(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_model_that_knows_the_picture_has_no_loss(prediction):
    """By its own kind of answer: noise, picture, or velocity sqrt(a) noise - sqrt(1 - a) picture."""
    clean = torch.randn(6, 4, 8, 8)
    family = Told(DDIMScheduler(**BETAS, prediction_type=prediction))
    schedule = schedule_of(family)

    def answer(noisy, sigma):
        a = alphas(schedule, sigma)
        noise = (noisy - a.sqrt() * clean) / (1 - a).sqrt()
        return {"epsilon": noise, "sample": clean, "v_prediction": a.sqrt() * noise - (1 - a).sqrt() * clean}[prediction]

    family.answer = answer
    batch = Batch(clean, torch.zeros_like(clean), {})
    assert Regression(Denoising()).loss(family, batch, torch.Generator().manual_seed(0)) < 1e-4


def test_a_schedule_without_signal_at_its_end_is_kept():
    """Zero terminal SNR: the last level is noise alone, which models that are trained so must see."""
    family = Told(EulerDiscreteScheduler(**BETAS, rescale_betas_zero_snr=True, prediction_type="v_prediction"))
    assert schedule_of(family).alphas_cumprod[-1] == 0


def test_every_timestep_is_practised_alike_and_none_beyond_the_last():
    family = Told(DDIMScheduler(**BETAS))
    batch = Batch(torch.zeros(4000, 1, 1, 1), torch.zeros(4000, 1, 1, 1), {})
    Regression(Denoising()).loss(family, batch, torch.Generator().manual_seed(0))
    times = family.asked[0][1] * 1000
    assert times.dtype == torch.float32 and torch.equal(times.round() / 1000, family.asked[0][1])
    counts = torch.histc(times, bins=4, min=0, max=1000)
    assert times.min() >= 0 and times.max() <= 999 and (counts / 1000 - 1).abs().max() < 0.1


def test_the_smallest_noise_is_there_though_latents_are_kept_in_half_precision():
    """1 - a is 0.00085 at the first level, which is nothing in bf16."""
    family = Told(DDIMScheduler(**BETAS))
    batch = Batch(*(torch.zeros(2000, 1, 2, 2, dtype=torch.bfloat16) for _ in range(2)), {})
    Regression(Denoising()).loss(family, batch, torch.Generator().manual_seed(0))
    noisy, sigma = family.asked[0]
    early = noisy[sigma < 0.003]
    assert len(early) and noisy.dtype == torch.float32 and (early.std() - 0.04).abs() < 0.01


def test_an_answer_of_an_unknown_kind_is_told():
    with pytest.raises(JobError, match="flow_prediction"):
        schedule_of(Told(DDIMScheduler(**BETAS, prediction_type="flow_prediction")))


def test_the_objective_and_the_pipeline_mean_the_same_time():
    """At a timestep of the sampler, the family hears what the sampler's own model call hears."""
    case = next(case for case in tiny.CASES if case.name == "sd15")
    pipe = case.make()
    family = load_family("sd15")(pipe, ModelDefaults(), None)
    heard = []
    pipe.unet.register_forward_pre_hook(lambda module, args: heard.append(args[1]))
    with torch.no_grad():
        Regression(Denoising()).loss(
            family, Batch(*torch.zeros(2, 3, 4, 8, 8), family.encode_prompts(["a"] * 3)), torch.Generator().manual_seed(0)
        )
    assert heard[0].dtype == torch.float32 and torch.allclose(heard[0], heard[0].round(), atol=1e-3) and heard[0].max() > 1
