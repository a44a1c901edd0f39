"""The real sizes of further families, on the meta device: weights and layers that carry a LoRA."""

from __future__ import annotations

import json
import re

import diffusers
import pytest
import torch
from torch import nn

from engine.families.catalog import load_family
from engine.settings import ROOT


@pytest.mark.parametrize(
    "family, config, weights, layers",
    [
        ("cogview4", "cogview4", 6_369_118_272, 28 * 6),
        ("auraflow", "auraflow", 6_858_605_568, 4 * 14 + 32 * 7),
        ("pixart_sigma", "pixart-sigma", 610_856_096, 28 * 10),
        ("krea2", "krea2", 12_820_073_036, 28 * 8),
        ("ernie_image", "ernie-image", 8_033_490_048, 36 * 7),
        ("nucleus_image", "nucleus-image", 16_922_679_296, 32 * 8),
    ],
)
def test_the_real_model_has_its_weights_and_lora_layers(family, config, weights, layers):
    settings = json.loads((ROOT / "engine" / "families" / "configs" / f"{config}.json").read_text("utf-8"))
    with torch.device("meta"):
        model = getattr(diffusers, settings["_class_name"]).from_config(settings)
    assert sum(weight.numel() for weight in model.parameters()) == weights
    pattern = load_family(family).lora_targets
    assert sum(isinstance(layer, nn.Linear) and bool(re.fullmatch(pattern, name)) for name, layer in model.named_modules()) == layers
