"""HiDream I1: its real size, and training mode."""

from __future__ import annotations

import tiny
import torch
from test_parity import wrapped


def test_what_it_says_in_training_is_what_it_says_in_sampling():
    """In training mode the model leaves its patches as they are, and only then its experts learn."""
    family = wrapped(next(case for case in tiny.CASES if case.name == "hidream"))
    noisy, sigma = torch.randn(2, 4, 16, 24), torch.tensor([0.2, 0.7])
    with torch.no_grad():
        cond = family.encode_prompts(["a red fox", "blue"])
        still = family.predict(noisy, sigma, cond)
    family.denoiser.train()
    moving = family.predict(noisy, sigma, cond)
    torch.testing.assert_close(moving, still, rtol=1e-4, atol=1e-5)
    moving.square().mean().backward()
    weights = {name: weight for name, weight in family.denoiser.named_parameters() if ".experts." in name}
    assert weights and all(weight.grad is not None for weight in weights.values())
