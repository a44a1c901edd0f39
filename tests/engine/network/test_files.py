"""Files that the network saves, in the loaders that people use."""

from __future__ import annotations

import pytest
import tiny
import torch
import updates
from diffusers import FluxPipeline
from safetensors.torch import load_file

from engine.errors import JobError
from engine.families.defaults import ModelDefaults
from engine.families.flux import Flux
from engine.network.files import load_lora


@pytest.mark.parametrize("alpha", [None, 2, 7.5])
def test_the_saved_file_is_the_same_update_in_stock_diffusers(make_network, tmp_path, alpha):
    network = make_network(alpha=alpha)
    network.save(tmp_path / "one.safetensors", {"ss_steps": "5"}, "fp32", "diffusers")
    pipe = tiny.flux(layers=2)
    pipe.load_lora_weights(tmp_path / "one.safetensors")
    updates.assert_same(updates.of_network(network), updates.of_module(pipe.transformer))
    # a reader that has never heard of adapter metadata gets the same
    updates.assert_same(updates.of_network(network), updates.by_comfyui(load_file(tmp_path / "one.safetensors")))


def test_stock_diffusers_takes_the_scale_from_the_header_that_was_written(make_network, tmp_path):
    make_network(alpha=2).save(tmp_path / "one.safetensors", {}, "fp32", "diffusers")
    _, alphas, metadata = FluxPipeline.lora_state_dict(tmp_path / "one.safetensors", return_alphas=True, return_lora_metadata=True)
    assert not alphas and metadata["transformer.r"] == 4 and metadata["transformer.lora_alpha"] == 4
    assert len(metadata["transformer.target_modules"]) == 34


@pytest.mark.parametrize("form", ["diffusers", "comfyui"])
@pytest.mark.parametrize("alpha", [None, 2])
def test_a_network_takes_over_what_another_saved(make_network, tmp_path, form, alpha):
    network, other = make_network(alpha=alpha), make_network(trained=False, alpha=3)
    network.save(tmp_path / "one.safetensors", {}, "fp32", form)
    other.load(tmp_path / "one.safetensors")
    updates.assert_same(updates.of_network(network), updates.of_network(other))


def test_layers_that_the_file_lacks_start_fresh(make_network, tmp_path):
    part, whole = make_network(only_if_contains=["attn"]), make_network()
    part.save(tmp_path / "one.safetensors", {}, "fp32", "comfyui")
    whole.load(tmp_path / "one.safetensors")
    found = updates.of_network(whole)
    assert all(found[path].abs().max() == 0 for path in found if "attn" not in path)
    updates.assert_same(updates.of_network(part), {path: found[path] for path in found if "attn" in path})


def test_a_file_of_another_rank_is_refused_with_what_to_do(make_network, tmp_path):
    make_network(rank=8).save(tmp_path / "one.safetensors", {}, "bf16", "diffusers")
    with pytest.raises(JobError) as error:
        make_network(rank=16).load(tmp_path / "one.safetensors")
    assert str(error.value) == "one.safetensors has rank 8, this run wants 16. Set network.rank to 8, or start a new run."


def test_a_file_with_layers_that_are_not_trained_is_refused(make_network, tmp_path):
    make_network().save(tmp_path / "one.safetensors", {}, "bf16", "diffusers")
    with pytest.raises(JobError, match="which this run does not train"):
        make_network(only_if_contains=["attn"]).load(tmp_path / "one.safetensors")


@pytest.mark.parametrize("form", ["diffusers", "comfyui"])
def test_equal_weights_give_equal_bytes(make_network, tmp_path, form):
    texts = {f"ss_{index}": str(index) for index in range(20)}
    make_network(alpha=2).save(tmp_path / "one.safetensors", texts, "bf16", form)
    make_network(alpha=2).save(tmp_path / "two.safetensors", dict(reversed(texts.items())), "bf16", form)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def test_weights_are_saved_in_the_precision_that_is_asked_for_and_alphas_exactly(make_network, tmp_path):
    make_network(alpha=1.1).save(tmp_path / "one.safetensors", {}, "bf16", "comfyui")
    tensors = load_file(tmp_path / "one.safetensors")
    assert {t.dtype for name, t in tensors.items() if not name.endswith(".alpha")} == {torch.bfloat16}
    assert tensors["diffusion_model.double_blocks.0.img_mlp.0.alpha"].item() == pytest.approx(1.1, abs=1e-6)


def flux(**shape) -> Flux:
    return Flux(tiny.flux(**shape), ModelDefaults(max_sequence_length=32), None)


def test_a_file_for_a_model_with_more_blocks_or_another_width_is_refused(make_network, tmp_path):
    make_network().save(tmp_path / "one.safetensors", {}, "fp32", "diffusers")
    with pytest.raises(JobError, match=r"has the layer \S+_blocks\.1\.\S+, which this model has not"):
        load_lora(flux(layers=1), tmp_path / "one.safetensors")
    family = flux(layers=2)
    family.denoiser.transformer_blocks[0].attn.to_k = torch.nn.Linear(48, 48)
    with pytest.raises(JobError, match="made for another base model"):
        load_lora(family, tmp_path / "one.safetensors")
