"""Stable Diffusion at its real sizes, on no device: counts that are known from the published models and from kohya's files."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
from test_parity import request_of, wrapped

from engine.families.catalog import family_name
from engine.network.formats import canonical, to_form

CASES = {case.name: case for case in tiny.CASES}


@pytest.mark.parametrize(("width", "family"), [(768, "sd15"), (1024, "sd21")])
def test_the_two_families_of_one_pipeline_are_told_apart_by_the_models_files(width, family, tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"cross_attention_dim": width}))
    assert family_name(None, "StableDiffusionPipeline", tmp_path) == family
    assert family_name(None, "StableDiffusionPipeline", None) == "sd15"


def test_the_safety_checker_is_not_opened(tmp_path):
    """It is a gigabyte, stays on the processor and would see every sample."""
    from engine.jobs.base import ModelSection
    from engine.runtime.loading import open_family

    folder = tiny.save(CASES["sd15"].make(), tmp_path / "base")
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "requires_safety_checker": True}
    (folder / "model_index.json").write_text(json.dumps(index))
    family = open_family(ModelSection(name_or_path=str(folder)), torch.float32)
    assert family.pipe.safety_checker is None and family.name == "sd15"


def test_sdxl_is_told_the_size_of_the_picture():
    """The pipeline's time ids for the same size, height before width."""
    family = wrapped(CASES["sdxl"])
    told = family.added(torch.zeros(2, 4, 16, 24), {"pooled_prompt_embeds": torch.zeros(2, 32)})["time_ids"]
    stock = family.pipe._get_add_time_ids((32, 48), (0, 0), (32, 48), torch.float32, text_encoder_projection_dim=32)
    assert told.tolist() == [stock[0].tolist()] * 2


def test_a_vae_in_half_precision_encodes_in_full_where_it_must():
    family = wrapped(CASES["sdxl"])
    family.pipe.vae.half()
    mean, _ = family.encode_pixels(torch.zeros(1, 3, 32, 32))
    assert mean.dtype == torch.float32


def test_a_picture_is_decoded_in_full_precision_on_a_card_that_has_only_half():
    """Its VAE overflows in fp16: the picture would be black."""
    family = wrapped(CASES["sdxl"])
    family.pipe.vae.half()
    seen = []
    family.pipe.vae.decoder.conv_out.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    request = request_of(CASES["sdxl"], 1.0, steps=1)
    with torch.no_grad():
        cond = family.encode_prompts(["a"])
        with torch.autocast("cpu", torch.float16):
            family.sample(cond, None, request, [])
    assert seen == [torch.float32] and family.pipe.vae.decode.__func__ is type(family.pipe.vae).decode


@pytest.mark.parametrize("form", ["kohya", "comfyui"])
def test_sd3_has_its_original_names_and_comes_back(form):
    """Names as the original model has them: q, k and v in one, image and text apart, a second attention."""
    layers = {
        "attn.to_q": (8, 8), "attn.to_k": (8, 8), "attn.to_v": (8, 8), "attn.to_out.0": (8, 8), "ff.net.0.proj": (32, 8),
        "attn2.to_q": (8, 8), "attn2.to_k": (8, 8), "attn2.to_v": (8, 8), "attn.add_q_proj": (8, 8), "attn.add_k_proj": (8, 8),
        "attn.add_v_proj": (8, 8), "ff_context.net.2": (8, 32),
    }  # fmt: skip
    tensors = {}
    for name, (rows, columns) in layers.items():
        path = f"transformer.transformer_blocks.3.{name}"
        tensors |= {f"{path}.lora_A.weight": torch.randn(2, columns), f"{path}.lora_B.weight": torch.randn(rows, 2)}
    named = to_form(tensors, form, "sd3")
    original = {
        "x_block.attn.qkv", "x_block.attn.proj", "x_block.mlp.fc1", "x_block.attn2.qkv", "context_block.attn.qkv",
        "context_block.mlp.fc2",
    }  # fmt: skip
    expected = {f"joint_blocks.3.{name}" for name in original}
    if form == "kohya":
        expected = {f"lora_unet_{name.replace('.', '_')}" for name in expected}
    else:
        expected = {f"diffusion_model.{name}" for name in expected}
    assert {name.removesuffix(".lora_down.weight") for name in named if name.endswith(".lora_down.weight")} == expected
    back = canonical(named, {}, family="sd3")

    def delta(some, name):
        path = f"transformer.transformer_blocks.3.{name}"
        return some[f"{path}.lora_B.weight"] @ some[f"{path}.lora_A.weight"]

    for name in layers:
        torch.testing.assert_close(delta(back, name), delta(tensors, name))
    for native, parts in (("x_block.attn", "to_{}"), ("x_block.attn2", "to_{}"), ("context_block.attn", "add_{}_proj")):
        path = next(name for name in expected if name.endswith((f"{native}.qkv", f"{native.replace('.', '_')}_qkv")))
        scale = named[f"{path}.alpha"] / len(named[f"{path}.lora_down.weight"])
        whole = named[f"{path}.lora_up.weight"] @ named[f"{path}.lora_down.weight"] * scale
        ours = [delta(tensors, f"{native.split('.')[1]}.{parts.format(letter)}") for letter in "qkv"]
        torch.testing.assert_close(whole, torch.cat(ours))
