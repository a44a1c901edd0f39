"""HiDream I1: its real size, and training mode."""

from __future__ import annotations

import json
import re

import diffusers
import tiny
import torch
from test_parity import wrapped
from torch import nn

from engine.families.catalog import load_family
from engine.settings import ROOT


def test_the_real_model_has_its_weights_and_lora_layers():
    """Shared experts, not routed ones."""
    config = json.loads((ROOT / "engine" / "families" / "configs" / "hidream-full.json").read_text("utf-8"))
    with torch.device("meta"):
        model = getattr(diffusers, config["_class_name"]).from_config(config)
    assert sum(weight.numel() for weight in model.parameters()) == 17_105_733_184
    pattern = load_family("hidream").lora_targets
    layers = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and re.fullmatch(pattern, name)]
    assert len(layers) == 16 * 14 + 32 * 7
    assert not [name for name in layers if ".experts." in name or ".gate" in name]


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
