"""The noise that pictures are mixed with, and how much levels count: each against its definition, worked out here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from engine.jobs.train import Train
from engine.training.objectives import Batch, Denoising, FlowMatching, signal_weights

CLEAN = torch.randn(3, 2, 4, 6, generator=torch.Generator().manual_seed(9))
FILM = torch.randn(2, 2, 3, 4, 6, generator=torch.Generator().manual_seed(9))
FAMILY: Any = SimpleNamespace(latent_multiple=1, title="it")


def noise(seed: int = 0, clean: torch.Tensor = CLEAN, identities: tuple[int, ...] = (), **settings: Any) -> torch.Tensor:
    """What a flow is shown as noise: its answer, and the picture."""
    seen = FlowMatching(Train(**settings)).noised(
        FAMILY, clean, Batch(clean, clean * 0, {}, identities=identities), torch.Generator().manual_seed(seed)
    )
    return seen.answer + clean


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    """The numbers of a generator with that seed, in their order."""
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=rng) for shape in shapes]


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_plain_noise_is_standard_normal():
    close(noise(4), drawn(4, CLEAN.shape)[0])
    many = noise(5, torch.zeros(64, 4, 16, 16))
    assert abs(many.mean()) < 0.01 and abs(many.std() - 1) < 0.01


@pytest.mark.parametrize("clean", [CLEAN, FILM])
@pytest.mark.parametrize("key", ["noise_offset", "random_noise_shift"])
def test_an_offset_is_one_shade_for_each_channel_of_each_picture(key, clean):
    plain, shade = drawn(4, clean.shape, (*clean.shape[:2], *[1] * (clean.ndim - 2)))
    close(noise(4, clean, **{key: 0.3}), plain + 0.3 * shade)


@pytest.mark.parametrize("clean", [CLEAN, FILM])
def test_the_strength_of_noise_varies_from_picture_to_picture(clean):
    plain, each = drawn(4, clean.shape, (len(clean),))
    close(
        noise(4, clean, noise_multiplier=1.2, random_noise_multiplier=0.5), 1.2 * plain * (1 + 0.5 * each.view(-1, *[1] * (clean.ndim - 1)))
    )


def test_of_several_noises_each_picture_gets_the_nearest():
    candidates = np.stack([one.numpy() for one in drawn(4, *[CLEAN.shape] * 5)])
    distances = ((candidates - CLEAN.numpy()) ** 2).reshape(5, 3, -1).sum(-1)
    chosen = distances.argmin(0)
    assert len(set(chosen)) > 1
    close(
        noise(4, optimal_noise_pairing_samples=5), torch.from_numpy(np.stack([candidates[which, row] for row, which in enumerate(chosen)]))
    )


def test_a_picture_always_gets_the_same_noise_where_that_is_asked_for():
    one, two = noise(1, identities=(7, 8, 9), force_consistent_noise=True), noise(2, identities=(9, 7, 8), force_consistent_noise=True)
    close(one, two[[1, 2, 0]])
    assert not torch.equal(one[0], one[1]) and not torch.allclose(noise(1, identities=(7, 8, 9)), noise(2, identities=(7, 8, 9)))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_levels_count_by_their_signal_as_min_snr_says(prediction):
    """Hang et al. 2023, table 1, in NumPy, at every level of a schedule."""
    schedule = DDPMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction
    )
    kept = schedule.alphas_cumprod.double().numpy()
    snr = kept / (1 - kept)
    divided = {"epsilon": snr, "v_prediction": snr + 1, "sample": np.ones(1000)}[prediction]
    found = signal_weights(torch.from_numpy(snr), prediction, 5.0, None)
    np.testing.assert_allclose(found.numpy(), np.minimum(snr, 5.0) / divided, rtol=1e-6)
    fixed = signal_weights(torch.from_numpy(snr), prediction, None, 5.0)
    np.testing.assert_allclose(fixed.numpy(), 5.0 / divided, rtol=1e-6)
    family: Any = SimpleNamespace(pipe=SimpleNamespace(scheduler=schedule), title="it", latent_multiple=1)
    seen = Denoising(Train(min_snr_gamma=5.0)).noised(family, CLEAN, Batch(CLEAN, CLEAN * 0, {}), torch.Generator().manual_seed(0))
    times = (seen.sigma * 1000).round().long().numpy()
    np.testing.assert_allclose(seen.weights.numpy(), (np.minimum(snr, 5.0) / divided)[times], rtol=1e-4)


class Straight:
    """A model whose answer is half of what is right, everywhere."""

    latent_multiple = 1

    def __init__(self, answer: torch.Tensor):
        self.answer, self.asked = answer, []

    def predict(self, noisy: torch.Tensor, sigma: torch.Tensor, cond: Any) -> torch.Tensor:
        self.asked.append((noisy, sigma))
        return self.answer


def test_a_level_of_a_sampler_is_reached_by_one_step_of_the_model_itself():
    [plain] = drawn(4, CLEAN.shape)
    model: Any = Straight(0.5 * (plain - CLEAN))
    settings = Train(timestep_type="next_sample", next_sample_timesteps=8)
    seen = FlowMatching(settings).noised(model, CLEAN, Batch(CLEAN, CLEAN * 0, {}), torch.Generator().manual_seed(4))
    [(start, before)] = model.asked
    close(before, seen.sigma + 1 / 8)
    level, higher = seen.sigma.view(-1, 1, 1, 1), before.view(-1, 1, 1, 1)
    close(start, (1 - higher) * CLEAN + higher * plain)
    close(seen.latents, start - 0.5 * (plain - CLEAN) / 8)  # one Euler step of the sampler
    close(seen.latents - level * seen.answer, CLEAN)  # the right answer leads from there to the picture
