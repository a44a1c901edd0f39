"""Each loss against its formula, worked out in double precision for single values."""

from __future__ import annotations

import math

import pytest
import torch

from engine.training.losses import LOSSES

ANSWER = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
RIGHT = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(1))
SIGMA = torch.tensor([0.7, 0.03])


def haar(block: list[list[float]]) -> list[float]:
    """The four coefficients of the orthonormal Haar transform of 2 x 2 values: mean first."""
    (a, b), (c, d) = block
    return [(a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]


FORMULAS = {
    "mse": lambda e, sigma: e * e,
    "mae": lambda e, sigma: abs(e),
    "pseudo_huber": lambda e, sigma: math.sqrt(e * e + 1e-4) - 0.01,
    "smooth_l1": lambda e, sigma: 0.5 * e * e if abs(e) < 1 else abs(e) - 0.5,
    "stepped": lambda e, sigma: 10 * (e * (sigma - max(0, sigma - 0.05)) / (1 - max(0, sigma - 0.05))) ** 2,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_loss_is_its_formula(name):
    found = LOSSES[name](ANSWER, RIGHT, SIGMA)
    assert found.shape == ANSWER.shape
    for row in range(2):
        for place in ((0, 0, 0), (2, 5, 7), (1, 3, 4)):
            error = float(ANSWER[(row, *place)]) - float(RIGHT[(row, *place)])
            assert float(found[(row, *place)]) == pytest.approx(FORMULAS[name](error, float(SIGMA[row])), rel=1e-4, abs=1e-6)


def test_stepped_is_the_error_of_the_picture_that_is_found_after_a_step():
    """Ten times; written out: step along the answer, then take the true noise away."""
    clean, noise = ANSWER, RIGHT
    level, after = SIGMA.view(-1, 1, 1, 1), (SIGMA - 0.05).clamp(min=0).view(-1, 1, 1, 1)
    answer = noise - clean + 0.3 * torch.randn_like(clean)
    reached = (1 - level) * clean + level * noise + (after - level) * answer
    found = (reached - after * noise) / (1 - after)
    torch.testing.assert_close(LOSSES["stepped"](answer, noise - clean, SIGMA), 10 * (found - clean).square(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 2, 4, 6), (1, 2, 5, 7), (1, 2, 3, 4, 6)])
def test_wavelet_counts_details_twice(shape):
    error = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    found = LOSSES["wavelet"](error, torch.zeros(shape), torch.zeros(1))
    assert found.shape == error.shape
    height, width = shape[-2] // 2 * 2, shape[-1] // 2 * 2
    details = sum(
        value**2
        for plane in error.flatten(0, -3)
        for y in range(0, height, 2)
        for x in range(0, width, 2)
        for value in haar(plane[y : y + 2, x : x + 2].tolist())[1:]
    )
    assert found.sum().item() == pytest.approx(error.square().sum().item() + details, rel=1e-4)
    flat = torch.full(shape, 0.5)
    assert torch.equal(LOSSES["wavelet"](flat, torch.zeros(shape), torch.zeros(1)), flat.square())
