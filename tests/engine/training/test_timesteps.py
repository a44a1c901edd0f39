"""Which noise levels are practised, against their densities worked out another way."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from engine.training.timesteps import KNOTS, Levels, flux_shift, level_weights, shifted

MANY = 40_000


def drawn(levels: Levels, tokens: int = 256, span: tuple[float, float] = (0.0, 1.0), count: int = MANY) -> torch.Tensor:
    return levels.draw(count, tokens, torch.Generator().manual_seed(0), span)


def independent(kind: str) -> torch.Tensor:
    """The same density, by other means: NumPy-like draws instead of quantiles."""
    rng = torch.Generator().manual_seed(1)
    normal = torch.sigmoid(torch.randn(MANY, generator=rng))
    if kind == "lognorm_blend":
        bell = (1 - torch.exp(torch.randn(MANY, generator=rng) / 3) / math.e).clamp(0, 1)
        return torch.where(torch.rand(MANY, generator=rng) < 0.75, bell, torch.rand(MANY, generator=rng))
    return {
        "sigmoid": normal,
        "linear": torch.rand(MANY, generator=rng),
        "weighted": torch.rand(MANY, generator=rng),
        "shift": 3 * normal / (1 + 2 * normal),
        "flux_shift": math.exp(0.5) * normal / (1 + (math.exp(0.5) - 1) * normal),
        "lumina2_shift": 6 * normal / (1 + 5 * normal),
        "one_step": torch.ones(MANY),
        "two_step": torch.randint(1, 3, (MANY,), generator=rng) / 2,
        "four_step": torch.randint(1, 5, (MANY,), generator=rng) / 4,
        "eight_step": torch.randint(1, 9, (MANY,), generator=rng) / 8,
        "next_sample": torch.randint(1, 8, (MANY,), generator=rng) / 8,
    }[kind]


KINDS = [
    "sigmoid",
    "linear",
    "weighted",
    "shift",
    "flux_shift",
    "lumina2_shift",
    "lognorm_blend",
    "one_step",
    "two_step",
    "four_step",
    "eight_step",
    "next_sample",
]


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference of two distributions (Kolmogorov and Smirnov)."""
    grid = torch.linspace(-0.01, 1.01, 500)
    return max(((one <= x).float().mean() - (other <= x).float().mean()).abs().item() for x in grid)


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_levels_have_their_density(kind, stratified):
    levels = drawn(Levels(kind, stratified=stratified))
    assert levels.dtype == torch.float32 and levels.min() >= 0 and levels.max() <= 1
    assert apart(levels, independent(kind)) < 0.015


def test_strata_are_filled_one_each_in_an_order_that_is_drawn():
    levels = Levels("linear", stratified=True).draw(64, 0, torch.Generator().manual_seed(0))
    assert (levels * 64).long().sort().values.tolist() == list(range(64))
    assert levels.argsort().tolist() != list(range(64))
    plain = torch.stack([Levels("sigmoid").draw(8, 0, torch.Generator().manual_seed(k)).mean() for k in range(300)])
    spread = torch.stack([Levels("sigmoid", stratified=True).draw(8, 0, torch.Generator().manual_seed(k)).mean() for k in range(300)])
    assert spread.std() < 0.4 * plain.std() and abs(spread.mean() - plain.mean()) < 0.02


@pytest.mark.parametrize("kind", ["linear", "sigmoid", "flux_shift"])
def test_content_is_high_noise_and_style_is_low(kind):
    """Quantiles of the plain draw: the cube of an even number, from the noisy end and from the other."""
    share = torch.rand(MANY, generator=torch.Generator().manual_seed(2)) ** 3
    normal = torch.distributions.Normal(0.0, 1.0)
    plain = {
        "linear": lambda q: q,
        "sigmoid": lambda q: normal.icdf(q).sigmoid(),
        "flux_shift": lambda q: (normal.icdf(q) + 0.5).sigmoid(),
    }[kind]
    assert apart(drawn(Levels(kind, "style")), plain(share.clamp(1e-6))) < 0.015
    assert apart(drawn(Levels(kind, "content")), plain((1 - share).clamp(max=1 - 1e-6))) < 0.015


@pytest.mark.parametrize("span", [(0.0, 0.875), (0.875, 1.0), (0.4, 0.6)])
@pytest.mark.parametrize("kind", ["sigmoid", "linear", "shift", "lognorm_blend"])
def test_within_a_span_levels_are_as_dense_as_without_it(kind, span):
    inside = independent(kind)
    inside = inside[(inside >= span[0]) & (inside < span[1])]
    for levels in (Levels(kind), Levels(kind, low=span[0], high=span[1])):
        found = drawn(levels, span=span if levels.low == 0 and levels.high == 1 else (0.0, 1.0))
        assert found.min() >= span[0] and found.max() < span[1]
        assert apart(found, inside) < 0.02 + 1 / len(inside) ** 0.5


def test_a_span_without_levels_of_the_kind_still_gives_one_inside():
    found = drawn(Levels("one_step"), span=(0.1, 0.2), count=10)
    assert found.min() >= 0.1 and found.max() < 0.2


def test_flux_shift_is_that_of_the_stock_scheduler():
    for tokens in (64, 256, 1024, 4096):
        assert flux_shift(tokens) == pytest.approx(torch.tensor(calculate_shift(tokens)).exp().item(), rel=1e-6)
    assert shifted(torch.tensor(0.5), 3.0).item() == pytest.approx(0.75)


def test_weights_of_levels_have_the_mean_they_say():
    sigma = torch.linspace(0, 1, 10_001)
    assert level_weights(sigma, "sigmoid") is None
    bell = level_weights(sigma, "linear", bell=True)
    assert bell.mean().item() == pytest.approx(1, abs=1e-3) and abs(bell.argmax() - 5000) <= 1
    assert bell[0].abs() < 1e-6 and bell[-1].abs() < 1e-6 and torch.allclose(bell, bell.flip(0), atol=1e-6)
    half = level_weights(sigma, "linear", half_bell=True)
    assert torch.allclose(half[5000:], bell[5000:]) and torch.allclose(half[:5000], bell[5000].expand(5000))
    weighted = level_weights(sigma, "weighted")
    assert (
        weighted.mean().item() == pytest.approx(1, abs=0.01)
        and weighted[0].item() == pytest.approx(KNOTS[0])
        and weighted[-1].item() == pytest.approx(KNOTS[-1])
    )
    assert level_weights(torch.tensor([0.825]), "weighted").item() == pytest.approx((KNOTS[16] + KNOTS[17]) / 2, rel=1e-4)
