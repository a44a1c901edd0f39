"""OmniGen2: its real size, the published folder with its own code in it, and the published way of drawing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file
from test_every_family import load_lora
from test_parity import as_pixels, conditioning, pictures, request_of, wrapped
from torch import nn

from engine.families import own_pipeline
from engine.families.catalog import family_name, pipeline_in
from engine.families.omnigen2_pipeline import TEMPLATE, OmniGen2Pipeline, noise_levels
from engine.families.omnigen2_transformer import OmniGen2Transformer2DModel
from engine.jobs import ModelSection
from engine.network.attach import attach
from engine.runtime import loading
from engine.runtime.loading import find_model, load_parts, open_family

CASES = {case.name: case for case in tiny.CASES}
PUBLISHED = {
    "_class_name": "OmniGen2Pipeline",
    "_diffusers_version": "0.33.1",
    "mllm": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
    "processor": ["transformers", "Qwen2_5_VLProcessor"],
    "scheduler": ["scheduling_flow_match_euler_discrete_time_shifting", "FlowMatchEulerDiscreteScheduler"],
    "transformer": ["transformer_omnigen2", "OmniGen2Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
"""model_index.json of a model whose classes are code that it brings along."""


@pytest.fixture
def published(tmp_path) -> Path:
    """A folder as it was published: the code in it must not run."""
    folder = tiny.save(CASES["omnigen 2"].make(), tmp_path / "published", max_sequence_length=256)
    (folder / "model_index.json").write_text(json.dumps(PUBLISHED))
    for part in ("scheduler", "transformer"):
        (folder / part / f"{PUBLISHED[part][0]}.py").write_text("raise SystemExit('foreign code was run')")
    (folder / "pipeline_omnigen2.py").write_text("raise SystemExit('foreign code was run')")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(
        json.dumps({"_class_name": "FlowMatchEulerDiscreteScheduler", "dynamic_time_shift": True, "num_train_timesteps": 1000})
    )
    return folder


@pytest.mark.parametrize("name", ["OmniGen2Pipeline", ["pipeline_omnigen2", "OmniGen2Pipeline"]])
def test_the_published_folder_is_opened_and_its_code_is_not_run(published, name):
    (published / "model_index.json").write_text(json.dumps({**PUBLISHED, "_class_name": name}))
    assert family_name(None, pipeline_in(published), published) == "omnigen2"
    family = open_family(ModelSection(name_or_path=str(published)), torch.float32)
    list(load_parts(family, ("mllm", "transformer"), torch.device("cpu"), torch.float32))
    assert isinstance(family.denoiser, OmniGen2Transformer2DModel)
    fresh = CASES["omnigen 2"].make().transformer.state_dict()
    assert all(torch.equal(weight, fresh[name]) for name, weight in family.denoiser.state_dict().items())
    with torch.no_grad():
        ours = family.encode_prompts(["a red fox"])["prompt_embeds"]
        theirs = wrapped(CASES["omnigen 2"]).encode_prompts(["a red fox"])["prompt_embeds"]
    torch.testing.assert_close(ours, theirs)


def test_of_a_model_on_the_hub_the_code_is_not_even_fetched(published, monkeypatch):
    asked = {}
    monkeypatch.setattr(loading, "hf_hub_download", lambda repo, file, **more: str(published / file))
    monkeypatch.setattr(own_pipeline, "snapshot_download", lambda repo, **more: asked.update(more, repo=repo) or str(published))
    assert find_model(ModelSection(name_or_path="OmniGen2/OmniGen2", revision="v1")) == published
    assert (asked["repo"], asked["revision"]) == ("OmniGen2/OmniGen2", "v1")
    (published / "whole.safetensors").touch()
    files = {file.relative_to(published).as_posix() for file in published.rglob("*") if file.is_file()}
    kept = set(huggingface_hub.utils.filter_repo_objects(files, allow_patterns=asked["allow_patterns"]))
    assert files - kept == {file for file in files if file.endswith(".py")} | {"whole.safetensors", "darkroom.json"}
    OmniGen2Pipeline.download("OmniGen2/OmniGen2", transformer=None)
    kept = set(huggingface_hub.utils.filter_repo_objects(files, allow_patterns=asked["allow_patterns"]))
    assert not any(file.startswith("transformer/") for file in kept) and any(file.startswith("mllm/") for file in kept)


def test_the_text_encoder_reads_the_conversation_of_the_published_pipeline():
    """Features are the last layer's, each text's as if it were alone; what is too long is cut off at its end."""
    family = wrapped(CASES["omnigen 2"])
    pipe = family.pipe
    with torch.no_grad():
        both = family.encode_prompts(["a red fox", "blue"])
        tokens = pipe.processor(TEMPLATE.format("blue"), return_tensors="pt")
        alone = pipe.mllm(**tokens, output_hidden_states=True).hidden_states[-1]
        short, mask = pipe.encode_prompt(["a red fox"], max_sequence_length=20)
    length = alone.shape[1]
    assert both["prompt_attention_mask"].sum(dim=1).tolist() == [length + len("a red fox") - len("blue"), length]
    torch.testing.assert_close(both["prompt_embeds"][1:, :length], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(short, both["prompt_embeds"][:1, :20], rtol=1e-4, atol=1e-5)
    assert mask.shape == (1, 20)
    words = pipe.processor.decode(tokens.input_ids[0])
    assert words.startswith("<|im_start|>system\nYou are a helpful assistant") and words.endswith("<|im_start|>user\nblue<|im_end|>\n")


def test_noise_levels_are_those_of_the_published_schedule():
    """There time is counted up to the picture: t / (m - m t + t), and m is the root of the latents' pixels over 40."""
    for pixels in (40 * 40, 128 * 128):
        even, m = np.linspace(0, 1, 11)[:-1], pixels**0.5 / 40
        np.testing.assert_allclose(1 - np.array(noise_levels(10, pixels)), even / (m - m * even + even))


def test_guidance_is_of_words_and_of_pictures(monkeypatch):
    """Without anything + image guidance (references - nothing) + text guidance (words - references)."""
    case = CASES["omnigen 2 edit"]
    family, shown, stepped = wrapped(case), pictures(case), []
    scheduler = type(family.pipe.scheduler)
    step = scheduler.step
    monkeypatch.setattr(
        scheduler,
        "step",
        lambda self, answer, t, sample, **more: stepped.append((answer, t, sample)) or step(self, answer, t, sample, **more),
    )
    with torch.no_grad():
        cond, empty = conditioning(family, "a red fox", shown), conditioning(family, "", shown)
        family.sample(cond, empty, request_of(case, 4.0, steps=1), shown, image_guidance_scale=3.0)
        controls = {f"control_{k}": family.encode_reference(as_pixels(picture)) for k, picture in enumerate(shown)}
        ((answer, t, noisy),) = stepped
        sigma = t.view(1) / 1000
        nothing, wordless = family.predict(noisy, sigma, empty), family.predict(noisy, sigma, {**empty, **controls})
        whole = family.predict(noisy, sigma, {**cond, **controls})
    torch.testing.assert_close(answer, nothing + 3 * (wordless - nothing) + 4 * (whole - wordless), rtol=1e-3, atol=1e-4)


def test_references_are_made_smaller_where_they_are_too_large_and_give_the_size():
    case = CASES["omnigen 2 edit"]
    pipe = wrapped(case).pipe
    wide = Image.new("RGB", (100, 41))
    with torch.no_grad():
        assert pipe.encode_reference(wide, 1024 * 1024, 2048).shape[-2:] == (20, 50)  # sides are cut to multiples of 4
        assert pipe.encode_reference(wide, 1024, 2048).shape[-2:] == (10, 24)
        assert pipe.encode_reference(wide, 1024 * 1024, 50).shape[-2:] == (10, 24)
        assert pipe("a red fox", input_images=[wide], num_inference_steps=1, text_guidance_scale=1.0).images[0].size == (100, 40)


def test_the_order_of_references_matters():
    case = CASES["omnigen 2 edit"]
    family, shown = wrapped(case), pictures(case)
    request = replace(request_of(case, 1.0), steps=1)
    with torch.no_grad():
        cond = conditioning(family, "a red fox", shown)
        one, other = (family.sample(cond, None, request, order) for order in (shown, shown[::-1]))
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize("name", ["omnigen 2", "radiance"])
def test_comfyui_finds_the_models_own_names_in_the_saved_file(name, tmp_path):
    case = CASES[name]
    family = wrapped(case)
    network = attach(load_lora(), {"transformer": family.denoiser}, family.lora_targets, family=family.name)
    network.save(tmp_path / "lora.safetensors", {}, "fp32", family.default_form)
    layers = [
        layer
        for layer, kind in case.make().transformer.named_modules()
        if isinstance(kind, nn.Linear) and re.fullmatch(family.lora_targets, layer)
    ]
    assert len(layers) == case.targets
    saved = {key.partition(".lora_")[0].removesuffix(".alpha") for key in load_file(tmp_path / "lora.safetensors")}
    assert saved == {f"diffusion_model.{layer}" for layer in layers}
