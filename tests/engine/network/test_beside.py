"""Finished files beside the layers of a model: every kind, the same answers as where they were trained."""

from __future__ import annotations

import pytest
import tiny
import torch
from test_kinds import FORMS, INPUTS, KINDS, Small, answer, on_flux, trained
from torch import nn

from engine.errors import JobError
from engine.families.defaults import ModelDefaults
from engine.families.flux import Flux
from engine.jobs import Lora
from engine.network.attach import attach
from engine.network.beside import Beside
from engine.network.files import load_lora
from engine.network.formats import canonical, to_form
from engine.network.layers import Layer, split


def layers_of(network) -> dict:
    return {path.removeprefix("transformer."): layer for path, layer in split(network._canonical()).items()}


@pytest.mark.parametrize("strength", [1.0, 0.5, -1.0])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_gives_the_answers_of_the_trained_network(name, strength):
    network = trained(KINDS[name].model_copy(update={"conv": 2}))
    model, base = Small(), answer(Small())
    names = [path for path, _ in model.named_modules()]
    beside = Beside(model, layers_of(network))
    beside.strength = strength
    with network.scaled(strength):
        wanted = answer(network.modules["transformer"])
    assert (wanted - base).abs().max() > 0.01
    torch.testing.assert_close(answer(model), wanted, rtol=1e-4, atol=1e-5)
    beside.strength = 0.0
    assert torch.equal(answer(model), base)
    beside.remove()
    beside.strength = 1.0
    assert torch.equal(answer(model), base) and [path for path, _ in model.named_modules()] == names


def test_several_act_together_and_go_one_by_one():
    one, two = layers_of(trained(KINDS["lora"], seed=1)), layers_of(trained(KINDS["lokr"], seed=2))
    model = nn.ModuleDict({"first": nn.Linear(12, 24), "second": nn.Linear(24, 8)})
    base = model["first"](INPUTS)
    first = Beside(model, {"first": one["first"]})
    alone = model["first"](INPUTS)
    second = Beside(model, {"first": two["first"]})
    both = model["first"](INPUTS)
    first.remove()
    torch.testing.assert_close(model["first"](INPUTS) - base, both - alone, rtol=1e-4, atol=1e-5)
    second.remove()
    assert torch.equal(model["first"](INPUTS), base)


def test_a_network_can_be_trained_on_top_of_it_in_either_order():
    frozen = layers_of(trained(KINDS["lora"], seed=1))
    before, after = Small(), Small()
    Beside(before, frozen)
    networks = [attach(Lora(rank=2), {"transformer": model}, ".*", seed=3) for model in (before, after)]
    Beside(after, frozen)
    assert (answer(before) - answer(Small())).abs().max() > 0.01
    torch.testing.assert_close(answer(before), answer(after))
    for network, model in zip(networks, (before, after)):
        model(INPUTS).square().sum().backward()
        assert all(weight.grad is not None for weight in network.parameters())
    for one, two in zip(networks[0].parameters(), networks[1].parameters()):
        torch.testing.assert_close(one.grad, two.grad)


def test_a_dora_of_lycoris_that_gives_columns_their_lengths_is_computed_by_its_formula():
    generator = torch.Generator().manual_seed(2)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    down, up, length = draw(3, 12), draw(24, 3), draw(1, 12).abs()
    name = "diffusion_model.first"
    tensors = {
        f"{name}.lora_down.weight": down,
        f"{name}.lora_up.weight": up,
        f"{name}.dora_scale": length,
        f"{name}.alpha": torch.tensor(1.5),
    }
    layer = split(tensors)[name]
    assert layer.kind == "dora" and isinstance(layer, Layer)
    model = Small()
    changed = model.first.weight.detach() + up @ down * 0.5
    wanted = nn.functional.linear(INPUTS, changed / changed.norm(dim=0, keepdim=True) * length, model.first.bias)
    Beside(model, {"first": layer})
    torch.testing.assert_close(model.first(INPUTS), wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(JobError, match="comfyui form"):
        to_form({f"transformer.x.{key.split('.', 2)[2]}": tensor for key, tensor in tensors.items()}, "diffusers", "flux")


def test_lokr_and_loha_with_a_core_are_computed_as_comfyui_does():
    """LyCORIS' way for convolutions: the matrices have their rank first, and a small convolution stands between them."""
    generator = torch.Generator().manual_seed(2)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    core, a, b, small = draw(2, 2, 3, 3), draw(2, 2), draw(2, 3), draw(2, 2)
    lokr = {"x.lokr_w1": small, "x.lokr_w2_a": a, "x.lokr_w2_b": b, "x.lokr_t2": core, "x.alpha": torch.tensor(1.0)}
    large = torch.einsum("i j k l, j r, i p -> p r k l", core, b, a).contiguous()
    wanted = torch.kron(small[:, :, None, None], large) / 2
    torch.testing.assert_close(split(lokr)["x"].delta(), wanted)
    assert split(lokr)["x"].size == (4, 6)
    wide_a, wide_b = draw(2, 4), draw(2, 6)
    loha = {
        "x.hada_w1_a": wide_a,
        "x.hada_w1_b": wide_b,
        "x.hada_t1": core,
        "x.hada_w2_a": wide_a * 2,
        "x.hada_w2_b": wide_b,
        "x.hada_t2": core,
    }
    one = torch.einsum("i j k l, j r, i p -> p r k l", core, wide_b, wide_a)
    torch.testing.assert_close(split(loha)["x"].delta(), one * one * 2)
    model = Small()
    base = model.wide(torch.ones(1, 6, 4, 4))
    Beside(model, {"wide": split(lokr)["x"]})
    added = nn.functional.conv2d(torch.ones(1, 6, 4, 4), wanted, padding=1, stride=2)
    torch.testing.assert_close(model.wide(torch.ones(1, 6, 4, 4)), base + added, rtol=1e-4, atol=1e-5)


def flux(**shape) -> Flux:
    return Flux(tiny.flux(**shape), ModelDefaults(max_sequence_length=32), None)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_any_form_and_kind_draws_as_its_network(name, form, tmp_path):
    network, family = on_flux(KINDS[name]), flux(layers=2)
    network.save(tmp_path / "one.safetensors", {}, "fp32", form)
    family.pipe.register_modules(text_encoder=None, text_encoder_2=None)  # prompts are encoded already
    loaded = load_lora(family, tmp_path / "one.safetensors")
    assert loaded.left_out == [] and loaded.strength == 1
    x = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    for path in ("transformer_blocks.1.attn.to_k", "transformer_blocks.0.ff_context.net.0.proj", "single_transformer_blocks.0.proj_mlp"):
        layer = family.denoiser.get_submodule(path)
        for strength in (1.0, 0.4):
            loaded.strength = strength
            with network.scaled(strength):
                wanted = network._layers[f"transformer.{path}"](x)
            torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)
    loaded.remove()
    assert torch.equal(layer(x), tiny.flux(layers=2).transformer.get_submodule(path)(x))


def test_what_is_for_a_text_encoder_is_left_out_and_said(tmp_path):
    from safetensors.torch import save_file

    network = on_flux(KINDS["lora"])
    tensors = to_form(network._canonical(), "diffusers", "flux")
    extra = {
        "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight": torch.ones(1, 32),
        "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_B.weight": torch.ones(37, 1),
    }
    save_file(tensors | extra, tmp_path / "one.safetensors")
    assert load_lora(flux(layers=2), tmp_path / "one.safetensors").left_out == ["text_encoder"]
    save_file(extra, tmp_path / "two.safetensors")
    with pytest.raises(JobError, match="has nothing for the transformer of flux"):
        load_lora(flux(layers=2), tmp_path / "two.safetensors")


def test_a_lokr_of_a_fused_layer_is_cut_where_its_blocks_allow_it():
    generator = torch.Generator().manual_seed(2)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    name = "diffusion_model.double_blocks.0.img_attn.qkv"
    small, large = draw(6, 4), draw(16, 8)
    read = split(canonical({f"{name}.lokr_w1": small, f"{name}.lokr_w2": large}, {}))
    whole = torch.kron(small, large)
    for number, part in enumerate(("to_q", "to_k", "to_v")):
        torch.testing.assert_close(read[f"transformer.transformer_blocks.0.attn.{part}"].delta(), whole[32 * number : 32 * (number + 1)])
    with pytest.raises(JobError, match="cannot be taken apart"):
        canonical({f"{name}.lokr_w1": draw(2, 4), f"{name}.lokr_w2": draw(48, 8)}, {})
    first, second = (draw(96, 2), draw(2, 32)), (draw(96, 2), draw(2, 32))
    loha = {f"{name}.hada_w1_a": first[0], f"{name}.hada_w1_b": first[1], f"{name}.hada_w2_a": second[0], f"{name}.hada_w2_b": second[1]}
    value = split(canonical(loha, {}))["transformer.transformer_blocks.0.attn.to_v"].delta()
    torch.testing.assert_close(value, ((first[0] @ first[1]) * (second[0] @ second[1]))[64:])


@pytest.mark.parametrize(
    "tensors",
    [
        {"lokr_w1": (2, 2)},
        {"hada_w1_a": (4, 2), "hada_w1_b": (2, 4)},
        {"hada_w1_a": (4, 2), "hada_w1_b": (3, 4), "hada_w2_a": (4, 2), "hada_w2_b": (2, 4)},
        {"lokr_w1_a": (2, 3), "lokr_w1_b": (4, 2), "lokr_w2": (2, 2)},
        {"lokr_w1": (2, 2), "lokr_w2": (2, 2), "dora_scale": (4, 1)},
    ],
)
def test_tensors_that_are_not_all_there_or_do_not_fit_are_refused(tensors):
    with pytest.raises(JobError, match=r"The layer transformer\.x has only half|The two tensors of the layer|also has a DoRA"):
        split({f"transformer.x.{end}": torch.ones(*shape) for end, shape in tensors.items()})
