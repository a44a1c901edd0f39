"""The published models at their real sizes, on no device: weights, layers that carry a LoRA, and names for those in files."""

from __future__ import annotations

import json
import re

import diffusers
import pytest
import torch
from torch import nn

from engine.families.catalog import BASES, STARTER, load_family
from engine.families.hidream_edit_pipeline import make_room
from engine.families.rows import BaseInfo
from engine.network.keys import TABLES, find_diffusers
from engine.runtime.quantize import choose_layers
from engine.settings import ROOT

CONFIGS = ROOT / "engine" / "families" / "configs"
SIZES = {
    "auraflow": (6_858_605_568, 4 * 14 + 32 * 7),
    "chroma-base": (8_899_983_424, 19 * 12 + 38 * 5),
    "chroma-hd": (8_899_983_424, 19 * 12 + 38 * 5),
    "chroma-radiance": (9_506_132_227, 19 * 8 + 38 * 2),
    "cogview4": (6_369_118_272, 28 * 6),
    "ernie-image": (8_033_490_048, 36 * 7),
    "flex1": (8_163_264_064, 8 * 12 + 38 * 5),
    "flex2": (8_163_264_064 + 132 * 3072, 8 * 12 + 38 * 5),
    "flux-dev": (11_901_408_320, 19 * 12 + 38 * 5),
    "flux-kontext": (11_901_408_320, 19 * 12 + 38 * 5),
    "flux-schnell": (11_891_178_560, 19 * 12 + 38 * 5),
    "flux2-dev": (32_223_281_152, 8 * 12 + 48 * 2),
    "flux2-klein-4b": (3_875_544_576, 5 * 12 + 20 * 2),
    "flux2-klein-9b": (9_078_581_248, 8 * 12 + 24 * 2),
    "flux2-klein-base-4b": (3_875_544_576, 5 * 12 + 20 * 2),
    "flux2-klein-base-9b": (9_078_581_248, 8 * 12 + 24 * 2),
    "hidream-e1-1": (17_105_733_184, 16 * 14 + 32 * 7),
    "hidream-e1-full": (17_105_733_184, 16 * 14 + 32 * 7),
    "hidream-full": (17_105_733_184, 16 * 14 + 32 * 7),
    "ideogram4": (9_279_288_448, 34 * 7),
    "krea2": (12_820_073_036, 28 * 8),
    "ltx-video": (1_923_385_472, 28 * 10),
    "ltx2": (18_876_174_592, 48 * 10),
    "krea2-turbo": (12_820_073_036, 28 * 8),
    "lumina2": (2_609_769_152, 30 * 7),
    "nucleus-image": (16_922_679_296, 32 * 8),
    "omnigen2": (3_967_161_400, (32 + 2 + 2) * 7),
    "pixart-sigma": (610_856_096, 28 * 10),
    "prxpixel": (7_003_535_872, 24 * 6),
    "qwen-image": (20_430_401_088, 60 * 12),
    "qwen-image-2512": (20_430_401_088, 60 * 12),
    "qwen-image-edit": (20_430_401_088, 60 * 12),
    "qwen-image-edit-2509": (20_430_401_088, 60 * 12),
    "qwen-image-edit-2511": (20_430_401_088, 60 * 12),
    "sd15": (859_520_964, 192),
    "sd21": (865_910_724, 192),
    "sd35-large": (8_056_627_520, 453),
    "sd35-medium": (2_243_171_520, 337),
    "sdxl": (2_567_463_684, 722),
    "wan21-14b": (14_288_491_584, 40 * 10),
    "wan21-1b": (1_418_996_800, 30 * 10),
    "wan21-i2v-480p": (16_394_878_784, 40 * 12),
    "wan21-i2v-720p": (16_394_878_784, 40 * 12),
    "wan22-14b": (14_288_491_584, 40 * 10),
    "wan22-14b-i2v": (14_288_901_184, 40 * 10),
    "wan22-5b": (4_999_787_712, 30 * 10),
    "zimage": (6_154_908_736, 30 * 7),
    "zimage-deturbo": (6_154_908_736, 30 * 7),
    "zimage-turbo": (6_154_908_736, 30 * 7),
}
"""Base model → weights of its denoiser, and its layers that carry a LoRA."""
FEATURES = {
    "auraflow": 2_334_720, "chroma-base": 4_085_760, "chroma-hd": 4_085_760, "chroma-radiance": 3_502_080,
    "cogview4": 2_064_384, "ernie-image": 2_949_120, "flex1": 2_869_248, "flex2": 2_869_248, "flux-dev": 4_085_760,
    "flux-kontext": 4_085_760, "flux-schnell": 4_085_760, "flux2-dev": 6_291_456, "flux2-klein-4b": 1_505_280,
    "flux2-klein-9b": 2_719_744, "flux2-klein-base-4b": 1_505_280, "flux2-klein-base-9b": 2_719_744, "hidream-e1-1": 2_650_112,
    "hidream-e1-full": 2_650_112, "hidream-full": 2_650_112, "ideogram4": 2_976_768, "krea2": 3_354_624,
    "krea2-turbo": 3_354_624, "ltx-video": 1_490_944, "ltx2": 5_111_808, "lumina2": 1_497_600, "nucleus-image": 886_208, "omnigen2": 1_982_880,
    "pixart-sigma": 838_656, "prxpixel": 1_935_360, "qwen-image": 6_635_520, "qwen-image-2512": 6_635_520,
    "qwen-image-edit": 6_635_520, "qwen-image-edit-2509": 6_635_520, "qwen-image-edit-2511": 6_635_520, "sd15": 423_936,
    "sd21": 432_128, "sd35-large": 3_297_792, "sd35-medium": 1_468_416, "sdxl": 2_659_840, "wan21-14b": 4_792_320,
    "wan21-1b": 1_367_040, "wan21-i2v-480p": 5_611_520, "wan21-i2v-720p": 5_611_520, "wan22-14b": 4_792_320,
    "wan22-14b-i2v": 4_792_320, "wan22-5b": 2_519_040, "zimage": 2_188_800, "zimage-deturbo": 2_188_800,
    "zimage-turbo": 2_188_800,
}  # fmt: skip
"""Base model → width and height of the weights of those layers, all in all: what a LoRA of rank 1 has."""
WHOLE = {"chroma_radiance", "ltx2", "omnigen2", "qwen_image", "qwen_image_edit", "qwen_image_edit_plus"} | {
    f"wan{name}" for name in ("21", "21_i2v", "22_5b", "22_14b", "22_14b_i2v")
}
"""Families whose other linear layers have names in files too."""
SHAPES = {
    "chroma-radiance": {
        "img_in_patch.weight": (3072, 3, 16, 16), "nerf_blocks.3.param_generator.weight": (49152, 3072),
        "nerf_image_embedder.embedder.0.weight": (64, 67), "nerf_final_layer_conv.conv.weight": (3, 64, 3, 3),
    },
    "flex2": {"x_embedder.weight": (3072, 196), "proj_out.weight": (64, 3072)},
    "omnigen2": {
        "layers.31.attn.to_k.weight": (840, 2520), "layers.31.feed_forward.linear_1.weight": (10240, 2520),
        "image_index_embedding": (5, 2520), "time_caption_embed.caption_embedder.1.weight": (2520, 2048),
    },
}  # fmt: skip


def row_of(base: str) -> BaseInfo:
    return next(row for row in BASES if row.id == base)


def real(base: str, config: str | None = None) -> nn.Module:
    """The denoiser of a base model; ``config`` is another one's configuration."""
    settings = json.loads((CONFIGS / f"{config or base}.json").read_text("utf-8"))
    family = load_family(row_of(base).family)
    kind = getattr(family.pipeline_class, "own_classes", {}).get(family.denoiser_part) or getattr(diffusers, settings["_class_name"])
    with torch.device("meta"):
        return kind.from_config(settings)


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d)}


def test_every_base_model_ships_its_configuration_and_is_in_the_table():
    assert {file.stem for file in CONFIGS.iterdir()} == {row.id for row in BASES if row is not STARTER} == set(SIZES)


@pytest.mark.parametrize("base", SIZES)
def test_the_real_model_has_its_weights_and_lora_layers(base):
    row, model, (weights, targets) = row_of(base), real(base), SIZES[base]
    assert sum(weight.numel() for weight in model.parameters()) == weights
    assert row.parameters == pytest.approx(weights / 1e9, rel=0.005)
    layers = layers_of(model)
    chosen = [name for name in layers if re.fullmatch(load_family(row.family).lora_targets, name)]
    assert len(chosen) == targets
    assert sum(len(weight) + weight[0].numel() for weight in (layers[name].weight for name in chosen)) == FEATURES[base]
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    assert SHAPES.get(base, {}).items() <= shapes.items()
    if row.family in TABLES:
        for name in chosen:
            rule, position, _ = find_diffusers(TABLES[row.family], name)
            assert len(rule.parts) == 1 or layers[name].out_features == rule.rows[position] * layers[name].in_features
    if row.family in WHOLE:
        assert [
            name for name, layer in layers.items() if isinstance(layer, nn.Linear) and not find_diffusers(TABLES[row.family], name)
        ] == []


@pytest.mark.parametrize("base", ["hidream-full", "hidream-e1-1"])
def test_of_hidream_the_shared_experts_learn_and_not_the_routed_ones(base):
    chosen = [name for name in layers_of(real(base)) if re.fullmatch(load_family(row_of(base).family).lora_targets, name)]
    assert not [name for name in chosen if ".experts." in name or ".gate" in name]


def test_hidream_e1_has_room_for_a_megapixel_twice():
    """The published scripts say so by hand: the config tells of HiDream I1."""
    model = real("hidream-e1-1")
    assert model.max_seq == 4096
    make_room(model)
    make_room(model)
    assert model.max_seq == 8192


def test_chromas_own_configuration_gives_radiances_sizes_too():
    """It lies beside its text encoder."""
    model = real("chroma-radiance", "chroma-hd")
    assert sum(weight.numel() for weight in model.parameters()) == SIZES["chroma-radiance"][0]
    linear = {name for name, layer in layers_of(model).items() if isinstance(layer, nn.Linear)}
    assert linear - set(choose_layers(model, (), ())) == {"nerf_image_embedder.embedder.0"}
