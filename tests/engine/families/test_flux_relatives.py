"""FLUX's relatives, Z-Image, Lumina and PixArt: what is peculiar to each; and of most families, the names in files that ComfyUI looks for."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
from PIL import Image
from test_every_family import load_lora
from test_parity import conditioning, request_of, wrapped

from engine.families.base import stack
from engine.families.catalog import family_name
from engine.jobs import load_job, load_job_with_notes
from engine.jobs.base import ModelSection
from engine.network.attach import attach
from engine.network.formats import from_any
from engine.network.layers import split
from engine.network.reader import read_lora
from engine.runtime.loading import open_family
from engine.training.checks import guidance_notes

CASES = {case.name: case for case in tiny.CASES}
NATIVE = {
    "chroma": {
        "double_blocks.0.img_attn.proj", "double_blocks.0.img_attn.qkv", "double_blocks.0.img_mlp.0", "double_blocks.0.img_mlp.2",
        "double_blocks.0.txt_attn.proj", "double_blocks.0.txt_attn.qkv", "double_blocks.0.txt_mlp.0", "double_blocks.0.txt_mlp.2",
        "single_blocks.0.linear1", "single_blocks.0.linear2",
    },
    "auraflow": {
        *(f"double_layers.0.attn.w{stream}{letter}" for stream in "12" for letter in "qkvo"),
        *(f"double_layers.0.mlp{stream}.c_{layer}" for stream in "XC" for layer in ("fc1", "fc2", "proj")),
        *(f"single_layers.{block}.attn.w1{letter}" for block in range(2) for letter in "qkvo"),
        *(f"single_layers.{block}.mlp.c_{layer}" for block in range(2) for layer in ("fc1", "fc2", "proj")),
    },
    "lumina 2": {
        f"{block}.0.{layer}"
        for block in ("layers", "noise_refiner", "context_refiner")
        for layer in ("attention.qkv", "attention.out", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3")
    },
    "pixart sigma": {
        f"blocks.{block}.{layer}"
        for block in range(2)
        for layer in ("attn.qkv", "attn.proj", "cross_attn.q_linear", "cross_attn.kv_linear", "cross_attn.proj", "mlp.fc1", "mlp.fc2")
    },
    "qwen image": {
        f"transformer_blocks.{block}.{layer}"
        for block in range(2)
        for layer in (
            "attn.to_q", "attn.to_k", "attn.to_v", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_out.0", "attn.to_add_out",
            "img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2",
        )
    },
    "hidream": {
        *(f"{stream}_stream_blocks.0.block.attn1.to_{layer}" for stream in ("double", "single") for layer in ("q", "k", "v", "out")),
        *(f"{stream}_stream_blocks.0.block.ff_i.shared_experts.w{number}" for stream in ("double", "single") for number in (1, 2, 3)),
        *(f"double_stream_blocks.0.block.attn1.to_{layer}_t" for layer in ("q", "k", "v", "out")),
        *(f"double_stream_blocks.0.block.ff_t.w{number}" for number in (1, 2, 3)),
    },
    "wan 2.1": {
        f"blocks.{block}.{layer}"
        for block in range(2)
        for layer in (*(f"{which}_attn.{letter}" for which in ("self", "cross") for letter in "qkvo"), "ffn.0", "ffn.2")
    },
    "krea 2": {
        f"blocks.{block}.{layer}"
        for block in range(2)
        for layer in ("attn.wq", "attn.wk", "attn.wv", "attn.wo", "attn.gate", "mlp.gate", "mlp.up", "mlp.down")
    },
    "ideogram 4": {
        f"layers.{block}.{layer}"
        for block in range(2)
        for layer in ("attention.qkv", "attention.o", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3")
    },
    "ernie image": {
        f"layers.{block}.{layer}"
        for block in range(2)
        for layer in (*(f"self_attention.to_{name}" for name in ("q", "k", "v", "out.0")), "mlp.gate_proj", "mlp.up_proj", "mlp.linear_fc2")
    },
    "ltx video": {
        f"transformer_blocks.{block}.{layer}"
        for block in range(2)
        for layer in (*(f"attn{which}.to_{name}" for which in "12" for name in ("q", "k", "v", "out.0")), "ff.net.0.proj", "ff.net.2")
    },
    "z-image": {
        f"layers.{block}.{layer}"
        for block in range(2)
        for layer in (
            "attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3",
        )
    },
}  # fmt: skip
NATIVE |= dict.fromkeys(("ltx 2", "ltx 2.3"), NATIVE["ltx video"])
NATIVE |= dict.fromkeys(("flex 1", "flux 2", "flux 2 klein", "flux kontext", "radiance"), NATIVE["chroma"])


@pytest.mark.parametrize("name", NATIVE)
def test_a_comfyui_file_has_the_names_that_comfyui_knows_and_comes_back_the_same(name, tmp_path):
    case, path = CASES[name], tmp_path / "lora.safetensors"
    family = wrapped(case)
    network = attach(load_lora(), {"transformer": family.denoiser}, family.lora_targets, family=family.name)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_()
    network.save(path, {}, "fp32", "comfyui")
    assert {path.removeprefix("diffusion_model.") for path in split(read_lora(path)[0])} == NATIVE[name]
    network.save(tmp_path / "diffusers.safetensors", {}, "fp32", "diffusers")
    back = split(from_any(path, family.name))
    for layer, update in split(from_any(tmp_path / "diffusers.safetensors", family.name)).items():
        torch.testing.assert_close(back[layer].delta(), update.delta())


def test_flux_2_is_saved_as_stock_diffusers_reads_it(tmp_path):
    family = wrapped(CASES["flux 2 klein"])
    network = attach(load_lora(), {"transformer": family.denoiser}, family.lora_targets, family=family.name)
    network.save(tmp_path / "lora.safetensors", {}, "fp32", family.default_form)
    names = read_lora(tmp_path / "lora.safetensors")[0]
    assert "diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight" in names
    assert not any(name.endswith(".alpha") for name in names)


def test_chroma_hides_padding_under_gradient_checkpointing_too():
    """diffusers forgets the mask of single blocks there: gradients of a batch of two lengths are the same with it and without."""
    grads = []
    for checkpointed in (False, True):
        family = wrapped(CASES["chroma"])
        with torch.no_grad():
            texts = stack([{name: value[0] for name, value in conditioning(family, text, ()).items()} for text in ("a red fox", "blue")])
        if checkpointed:
            family.denoiser.enable_gradient_checkpointing()
        plain = getattr(family.denoiser, "_gradient_checkpointing_func", None)
        torch.manual_seed(0)
        noisy = torch.randn(2, 1, 16, 24)
        family.denoiser.train()
        family.predict(noisy, torch.tensor([0.2, 0.7]), texts).square().mean().backward()
        assert getattr(family.denoiser, "_gradient_checkpointing_func", None) is plain
        grads.append([weight.grad for weight in family.denoiser.parameters()])
    assert all(torch.isfinite(grad).all() for grad in grads[0])
    torch.testing.assert_close(grads[1], grads[0])


def test_flux_2_opens_without_its_processor_of_pictures(tmp_path):
    """The published folder names a PixtralProcessor, which needs torchvision."""
    folder = tiny.save(CASES["flux 2"].make(), tmp_path / "base", **CASES["flux 2"].defaults)
    index = json.loads((folder / "model_index.json").read_text("utf-8")) | {"tokenizer": ["transformers", "PixtralProcessor"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    family = open_family(ModelSection(name_or_path=str(folder)), torch.float32)
    assert family.name == "flux2" and len(family.pipe.tokenizer("a b")["input_ids"]) == 3


def test_flux_2_latents_are_what_its_pipeline_makes_of_a_reference_picture():
    family = wrapped(CASES["flux 2"])
    pixels = torch.rand(1, 3, 64, 96) * 2 - 1
    with torch.no_grad():
        mean, std = family.encode_pixels(pixels)
        stock = family.pipe._encode_vae_image(pixels, None)
        decoded = family.pipe._unpatchify_latents(stock)
        posterior = family.pipe.vae.encode(pixels).latent_dist
    torch.testing.assert_close(mean, decoded)
    drawn = family.pipe._patchify_latents(posterior.mean + posterior.std)
    bn = family.pipe.vae.bn
    drawn = (drawn - bn.running_mean.view(1, -1, 1, 1)) / (bn.running_var.view(1, -1, 1, 1) + family.pipe.vae.config.batch_norm_eps).sqrt()
    torch.testing.assert_close(mean + std, family.pipe._unpatchify_latents(drawn))


def test_kontext_keeps_the_size_that_is_asked_for():
    family = wrapped(CASES["flux kontext"])
    with torch.no_grad():
        cond = conditioning(family, "a red fox", ())
        made = family.sample(cond, None, request_of(CASES["flux kontext"], 1.0, steps=1), [Image.new("RGB", (200, 300), "red")])
    assert made.size == (48, 32)


@pytest.mark.parametrize(("layers", "family"), [(8, "flex1"), (19, "flux")])
def test_flex_is_told_from_flux_by_its_layers(layers, family, tmp_path):
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps({"num_layers": layers, "num_single_layers": 38}))
    assert family_name(None, "FluxPipeline", tmp_path) == family


def test_flex_is_drawn_with_its_guidance():
    """Training leaves it out; sampling does not, before training or after."""
    family = wrapped(CASES["flex 1"])
    with torch.no_grad():
        cond = conditioning(family, "a red fox", ())
        low = family.sample(cond, None, request_of(CASES["flex 1"], 1.0, steps=1))
        family.predict(torch.randn(1, 1, 16, 24), torch.tensor([0.5]), cond)
        assert family.sample(cond, None, request_of(CASES["flex 1"], 1.0, steps=1)).tobytes() == low.tobytes()
        assert family.sample(cond, None, request_of(CASES["flex 1"], 9.0, steps=1)).tobytes() != low.tobytes()


@pytest.mark.parametrize(("arch", "bypassed"), [("flex1", False), ("flux", True), ("flux_kontext", True), ("sdxl", False)])
def test_a_foreign_job_that_bypasses_guidance_is_done_so_without_a_word(arch, bypassed):
    process = {
        "type": "sd_trainer",
        "model": {"name_or_path": "x/y", "arch": arch},
        "datasets": [{"folder_path": "x"}],
        "network": {"type": "lora", "linear": 16},
        "train": {"steps": 10, "bypass_guidance_embedding": True},
    }
    job, notes = load_job_with_notes({"job": "extension", "config": {"name": "x", "process": [process]}})
    assert not any("bypass_guidance_embedding" in note.message for note in notes)
    assert job.train.bypass_guidance_embedding == bypassed  # Flex is always trained so, and others have nothing to bypass


def test_flux_is_asked_as_a_model_without_a_guidance_embedding_where_that_is_bypassed():
    """Against the same weights in a model that has none; drawing is as it was."""
    family = wrapped(CASES["flux with guidance"])
    plain = type(family.denoiser).from_config({**family.denoiser.config, "guidance_embeds": False})
    plain.load_state_dict({name: tensor for name, tensor in family.denoiser.state_dict().items() if "guidance_embedder" not in name})
    with torch.no_grad():
        cond = conditioning(family, "a red fox", ())
        noisy, sigma = torch.randn(1, 1, 16, 24, generator=torch.Generator().manual_seed(2)), torch.tensor([0.5])
        before, drawn = (
            family.predict(noisy, sigma, cond),
            family.sample(cond, None, request_of(CASES["flux with guidance"], 3.0, steps=1)).tobytes(),
        )
        family.bypasses_guidance = True
        after = family.predict(noisy, sigma, cond)
        assert family.sample(cond, None, request_of(CASES["flux with guidance"], 3.0, steps=1)).tobytes() == drawn
        family.pipe.register_modules(transformer=plain)
        torch.testing.assert_close(after, family.predict(noisy, sigma, cond))
    assert (after - before).abs().max() > 1e-4


def test_a_job_that_bypasses_guidance_tells_its_model_so_and_says_where_there_is_nothing_to_bypass():
    def asked(name, **train):
        family = wrapped(CASES[name])
        job = load_job({"name": "x", "model": {"name_or_path": "x"}, "datasets": [{"path": "x"}], "train": train})
        return [note.message for note in guidance_notes(job, family)], family.bypasses_guidance

    assert asked("flux with guidance") == ([], False)
    assert asked("flux with guidance", bypass_guidance_embedding=True) == ([], True)
    ([told], bypasses) = asked("lumina 2", bypass_guidance_embedding=True)
    assert "has no effect" in told and bypasses is None


@pytest.mark.parametrize("name", ["chroma", "flux 2", "flux 2 klein", "lumina 2", "z-image"])
def test_prompts_are_encoded_where_the_text_encoder_is(name, monkeypatch):
    """The autoencoder waits on another device then, which the pipeline may take for its own."""
    family = wrapped(CASES[name])
    monkeypatch.setattr(type(family.pipe), "_execution_device", torch.device("meta"))
    with torch.no_grad():
        assert all(value.device.type == "cpu" for value in conditioning(family, "a red fox", ()).values())
