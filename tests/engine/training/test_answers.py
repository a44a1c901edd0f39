"""Right answers that are not the plain one, and other ways to ask: each against its formula, worked out here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from diffusers import DDPMScheduler
from test_weighing import Model, Prompted, answers, half, latents, loss, prompted

from engine.jobs.train import Train
from engine.training.objectives import Batch, Denoising, FlowMatching, Regression


def drawn(mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Generator]:
    """Noise, levels and noisy latents that the objective draws with that seed, and the generator after them."""
    rng = torch.Generator().manual_seed(0)
    torch.randn(mean.shape, generator=rng)  # of the posterior
    noise = torch.randn(mean.shape, generator=rng)
    level = torch.rand(len(mean), generator=rng).view(-1, 1, 1, 1)
    return noise, level, (1 - level) * mean + level * noise, rng


def test_with_guidance_it_is_the_guided_answer_that_is_to_be_right():
    batch, model = prompted("unconditional"), Prompted(0.5)
    found = loss(model, batch, do_cfg=True, cfg_scale=4)
    torch.testing.assert_close(found, ((0.2 + 4 * (0.5 - 0.2) - answers(batch.mean)) ** 2).mean())
    found.backward()  # the answer to the other prompt learns too; here both move with one number
    torch.testing.assert_close(model.answer.grad, (2 * (1.4 - answers(batch.mean))).mean())


def test_guidance_is_drawn_for_each_picture_between_its_two_ends():
    batch = prompted("unconditional")
    *_, rng = drawn(batch.mean)
    strength = 1 + 5 * torch.rand(2, generator=rng).view(-1, 1, 1, 1)
    found = loss(Prompted(0.5), batch, do_cfg=True, cfg_scale=1, max_cfg_scale=6)
    torch.testing.assert_close(found, ((0.2 + strength * 0.3 - answers(batch.mean)) ** 2).mean())


class Linear(Model):
    """Answers a x latents + b x level: its slope along a line is known."""

    def __init__(self, a: float, b: float):
        super().__init__(0.0)
        self.a, self.b = torch.tensor(a, requires_grad=True), b

    def predict_within(self, span, noisy, sigma, cond):
        assert span[0] <= sigma.min() and sigma.max() <= span[1]
        return self.a * noisy + self.b * sigma.view(-1, 1, 1, 1)


def test_a_mean_flow_is_the_velocity_less_the_level_times_the_slope():
    """u = v - t du/dt (Geng et al. 2025), and du/dt = a v + b for this model."""
    mean, std = latents()
    _, level, noisy, _ = drawn(mean)
    velocity = answers(mean)
    model = Linear(0.3, 0.7)
    found = loss(model, Batch(mean, std, {}), mean_flow=True)
    said, right = 0.3 * noisy + 0.7 * level, velocity - level * (0.3 * velocity + 0.7)
    torch.testing.assert_close(found, ((said - right) ** 2).mean(), rtol=1e-4, atol=1e-5)
    found.backward()  # through the answer alone, not through the slope
    torch.testing.assert_close(model.a.grad, (2 * (said - right) * noisy).mean(), rtol=1e-4, atol=1e-5)


def test_a_model_that_goes_to_the_picture_in_one_step_has_no_mean_flow_loss():
    """Where there is one picture, the way from anywhere is (here - picture) / level."""
    picture = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(3)).expand(64, -1, -1, -1)

    class Knows(Model):
        def predict_within(self, span, noisy, sigma, cond):
            return (noisy - picture) / sigma.view(-1, 1, 1, 1)

    train = Train(timestep_type="linear", mean_flow=True, max_denoising_steps=899)
    batch = Batch(picture, torch.zeros_like(picture), {})
    assert Regression(FlowMatching(train), train).loss(Knows(0.0), batch, torch.Generator().manual_seed(0)) < 1e-6


@pytest.mark.parametrize("kind", ["mse", "mae"])
def test_pictures_instead_of_answers_are_compared_where_both_lead(kind):
    mean, std = latents()
    _, level, noisy, _ = drawn(mean)
    found = loss(Model(0.5), Batch(mean, std, {}), t0_loss_target=True, loss_type=kind)
    wrong = noisy - level * 0.5 - mean  # the picture that the answer leads to, and the true one
    torch.testing.assert_close(found, (wrong.square() if kind == "mse" else wrong.abs()).mean(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_pictures_are_compared_for_models_that_denoise_too(prediction):
    """Against diffusers' own step to the picture, by the formulas of its schedulers."""
    schedule = DDPMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction
    )
    family: Any = SimpleNamespace(pipe=SimpleNamespace(scheduler=schedule), title="it", latent_multiple=1)
    clean = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(5))
    rng = torch.Generator().manual_seed(0)
    seen = Denoising(Train()).noised(family, clean, Batch(clean, clean * 0, {}), rng)
    time = (seen.sigma * 1000).round().long()
    said = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(6))
    kept = schedule.alphas_cumprod[time].view(-1, 1, 1, 1)
    pictures = {
        "epsilon": lambda answer: (seen.latents - (1 - kept).sqrt() * answer) / kept.sqrt(),
        "v_prediction": lambda answer: kept.sqrt() * seen.latents - (1 - kept).sqrt() * answer,
        "sample": lambda answer: answer,
    }[prediction]
    torch.testing.assert_close(pictures(seen.answer), clean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close((seen.led(said) - seen.led(seen.answer)).abs(), (pictures(said) - clean).abs(), rtol=1e-3, atol=1e-3)


class Kept(Model):
    """Keeps the levels that it is asked at."""

    def predict_within(self, span, noisy, sigma, cond):
        self.level = sigma.view(-1, 1, 1, 1)
        return super().predict_within(span, noisy, sigma, cond)


@pytest.mark.parametrize(("alike", "least"), [(False, 0), (True, 0), (True, 950)])
def test_spectra_are_compared_by_their_strength_alone(alike, least):
    """Against NumPy; the transform of real values, half of it, over the square root of the number of pixels."""
    mean, std = latents()
    noise, *_ = drawn(mean)
    batch, model = Batch(mean, std, {}), Kept(0.5)
    among = {"min_denoising_steps": least}
    added = loss(model, batch, do_fft_loss=True, do_fft_velocity_equiv_weight=alike, **among) - loss(model, batch, **among)
    level = model.level
    noisy = (1 - level) * mean + level * noise
    strengths = [numpy.abs(numpy.fft.fft2(one.double().numpy())[..., :3]) / 4 for one in (noisy - level * 0.5, mean)]
    differ = (strengths[0] - strengths[1]) ** 2
    if alike:
        differ = differ / numpy.maximum(level.numpy(), 0.1) ** 2
    assert added.item() == pytest.approx(differ.mean(), rel=1e-3)


def test_the_spectrum_of_what_is_masked_out_does_not_count():
    mean, std = latents()
    _, level, noisy, _ = drawn(mean)
    batch, mask = Batch(mean, std, {}, mask=half()), half()
    added = loss(Model(0.5), batch, do_fft_loss=True) - loss(Model(0.5), batch)
    shown = torch.where(mask.bool(), noisy - level * 0.5, mean)
    strengths = [numpy.abs(numpy.fft.fft2(one.double().numpy())[..., :3]) / 4 for one in (shown, mean)]
    assert added.item() == pytest.approx(((strengths[0] - strengths[1]) ** 2).mean(), rel=1e-3)


def told(make_job, run, **train) -> list[str]:
    job = make_job(train={"steps": 1, "lr": 1e-3, "batch_size": 1, "optimizer": "adamw", **train}, sample__sample_every=None)
    events = run(job, "-".join(train))
    assert events[-1].kind == "failed" or [event.step for event in events if event.kind == "step"] == [1]
    return [event.message for event in events if event.kind in ("warned", "failed")]


def test_a_run_asks_with_guidance_and_settings_that_contradict_it_are_told(make_job, run):
    assert not told(make_job, run, do_cfg=True, cfg_scale=3, unconditional_prompt="mud", do_fft_loss=True)
    assert "changes nothing while train.cfg_scale is 1" in told(make_job, run, do_cfg=True)[0]
    assert "train.cfg_scale has no effect without do_cfg" in told(make_job, run, cfg_scale=3)[0]
    assert "both sides of the loss" in told(make_job, run, do_cfg=True, cfg_scale=3, do_guidance_loss=True)[0]
