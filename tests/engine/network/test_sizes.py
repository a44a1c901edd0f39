"""Ranks and scales of single layers, and which layers there are."""

from __future__ import annotations

import pytest
import tiny
import torch
from safetensors.torch import load_file

from engine.errors import JobError
from engine.families.flux import Flux
from engine.jobs import Dora, Loha, Lokr, Lora, Oft
from engine.network.attach import attach
from engine.network.formats import canonical
from engine.network.layers import split


def made(settings, seed=1):
    network = attach(settings, {"transformer": tiny.flux(layers=2).transformer}, Flux.lora_targets, seed=seed, family="flux")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return network


PATTERNS = {
    "rank_pattern": {r"single_transformer_blocks\.\d+\.attn\.to_q": 8, "attn.to_q": 2, "transformer.transformer_blocks.1.attn.to_v": 6},
    "alpha_pattern": {"to_v": 3},
}
RANKS = {
    "transformer.single_transformer_blocks.1.attn.to_q": (8, 1.0), "transformer.transformer_blocks.0.attn.to_q": (2, 1.0),
    "transformer.transformer_blocks.1.attn.to_v": (6, 0.5), "transformer.transformer_blocks.0.attn.to_v": (4, 0.75),
    "transformer.transformer_blocks.0.ff.net.2": (4, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("kind", [Lora, Dora, Loha, Lokr])
def test_the_first_pattern_that_fits_the_end_of_a_name_gives_its_size(kind):
    more = {"lokr_full_rank": False, "lokr_factor": 2} if kind is Lokr else {}
    network = made(kind(rank=4, **PATTERNS, **more))
    found = {name: (network._layers[name].r["default"], network._layers[name].scaling["default"]) for name in RANKS}
    assert found == RANKS  # without an alpha, that of a layer is its rank


def test_a_given_alpha_is_that_of_every_rank_and_oft_has_blocks_of_the_size():
    network = made(Lora(rank=4, alpha=2, rank_pattern={"to_q": 8}))
    assert network._layers["transformer.transformer_blocks.0.attn.to_q"].scaling["default"] == 0.25
    blocks = dict(made(Oft(rank=4, rank_pattern={"to_q": 8})).named_parameters())
    assert blocks["transformer.transformer_blocks.0.attn.to_q.oft_blocks"].shape == (4, 8, 8)
    assert blocks["transformer.transformer_blocks.0.attn.to_k.oft_blocks"].shape == (8, 4, 4)


@pytest.mark.parametrize("form", ["diffusers", "comfyui", "kohya"])
def test_a_file_keeps_every_size_and_stock_diffusers_reads_it(form, tmp_path):
    network, other = made(Lora(rank=4, **PATTERNS)), made(Lora(rank=4, **PATTERNS), seed=9)
    network.save(tmp_path / "one.safetensors", {}, "fp32", form)
    if form == "diffusers":
        other.load(tmp_path / "one.safetensors")
        for name, layer in network._layers.items():
            torch.testing.assert_close(
                other._layers[name].get_delta_weight("default"), layer.get_delta_weight("default"), rtol=1e-4, atol=1e-6
            )
        pipe = tiny.flux(layers=2)
        pipe.load_lora_weights(tmp_path / "one.safetensors")
        for name in RANKS:
            theirs = pipe.transformer.get_submodule(name.removeprefix("transformer."))
            ours = network._layers[name].get_delta_weight("default")
            torch.testing.assert_close(theirs.get_delta_weight(theirs.active_adapters[0]), ours, rtol=1e-4, atol=1e-6)
    tensors = load_file(tmp_path / "one.safetensors")
    if form == "comfyui":  # q, k and v in one, of three ranks
        assert tensors["diffusion_model.double_blocks.1.img_attn.qkv.lora_down.weight"].shape[0] == 2 + 4 + 6
    for name, layer in split(canonical(tensors, {}, family="flux")).items():
        torch.testing.assert_close(layer.delta(), network._layers[name].get_delta_weight("default"), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("key", ["rank_pattern", "alpha_pattern"])
def test_a_pattern_that_fits_nothing_is_an_error_with_near_names(key):
    with pytest.raises(JobError, match=rf"network\.{key}: 'attn.to_qq' fits none.*attn\.to_q"):
        made(Lora(**{key: {"attn.to_qq": 2}}))
    with pytest.raises(JobError, match=rf"network\.{key}: '\(' is no regular expression"):
        made(Lora(**{key: {"(": 2}}))


def test_every_layer_that_can_carry_one_gets_one_where_it_is_asked_for(make_job, run, tmp_path):
    everywhere = {"type": "lora", "rank": 2, "transformer_only": False}
    assert run(make_job(network=everywhere, train__steps=1, sample__sample_every=None))[-1].kind == "finished"
    names = {name.rsplit(".lora_", 1)[0] for name in load_file(next(tmp_path.rglob("tiny.safetensors")))}
    linear = [name for name, layer in tiny.flux().transformer.named_modules() if isinstance(layer, torch.nn.Linear)]
    assert names == {f"transformer.{name}" for name in linear} and "transformer.x_embedder" in names


def test_a_layer_without_a_name_in_the_files_is_an_error_before_the_first_step(make_job, run):
    lines = {f"to_{name}": name for name in "qkv"}
    network = attach(
        Lora(rank=2), {"transformer": torch.nn.ModuleDict({name: torch.nn.Linear(4, 4) for name in lines})}, ".*", family="flux"
    )
    with pytest.raises(JobError, match=r"The layer transformer\.to_q has no name in ComfyUI"):
        network.check_form("comfyui")
    network.check_form("diffusers")


def test_a_lokr_of_whole_matrices_says_that_patterns_do_nothing():
    assert made(Lokr(rank_pattern={"to_q": 2})).idle == ["network.rank_pattern"]
