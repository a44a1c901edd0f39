"""OFT: layers are turned, as LyCORIS and ComfyUI do it."""

from __future__ import annotations

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engine.errors import JobError
from engine.families.flux import Flux
from engine.jobs import Oft
from engine.network.attach import attach
from engine.network.beside import Beside
from engine.network.formats import canonical
from engine.network.layers import split

INPUTS = torch.randn(2, 4, 4, 12, generator=torch.Generator().manual_seed(1))


class Small(nn.Module):
    """Linear layers with and without bias, convolutions of 1x1 and 3x3."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(12, 24), nn.Linear(24, 8, bias=False)
        self.point, self.wide = nn.Conv2d(8, 6, 1), nn.Conv2d(6, 4, 3, padding=1, stride=2)

    def forward(self, x):
        x = self.second(self.first(x).tanh()).tanh()
        return self.wide(self.point(x.movedim(-1, 1)).tanh())


def trained(model=None, targets=".*", size=4, **more):
    network = attach(Oft(rank=size, conv=2), {"transformer": model or Small()}, targets, **more)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return network


def turned(weight: torch.Tensor, blocks: torch.Tensor, limit: float = 0.0) -> torch.Tensor:
    """ComfyUI's rule, strength 1, written out block by block."""
    skew = blocks - blocks.transpose(1, 2)
    if limit and skew.norm() > limit:
        skew = skew * limit / (skew.norm() + 1e-8)
    one, rows = torch.eye(blocks.shape[1]), []
    for block, part in zip(skew, weight.flatten(1).split(blocks.shape[1]), strict=True):
        rows.append(((one + block) @ (one - block).inverse()).T @ part)
    return torch.cat(rows).reshape(weight.shape)


@torch.no_grad()
def answer(model: nn.Module) -> torch.Tensor:
    return model(INPUTS)


def test_the_answers_are_those_of_the_formula_and_lengths_stay():
    network, plain = trained(), Small()
    with torch.no_grad():
        for name, blocks in network.named_parameters():
            weight = plain.get_submodule(name.split(".")[1]).weight
            before = weight.clone()
            weight.copy_(turned(weight, blocks))
            high = blocks.shape[1]  # each block's columns keep their lengths
            torch.testing.assert_close(*(one.flatten(1).unflatten(0, (-1, high)).norm(dim=1) for one in (weight, before)))
    assert (answer(plain) - answer(Small())).abs().max() > 0.01
    torch.testing.assert_close(answer(network.modules["transformer"]), answer(plain), rtol=1e-4, atol=1e-5)


def test_blocks_are_as_large_as_the_features_allow():
    assert {name.split(".")[1]: tuple(weight.shape) for name, weight in trained(size=16).named_parameters()} == {
        "first": (2, 12, 12), "second": (1, 8, 8), "point": (1, 6, 6), "wide": (2, 2, 2),
    }  # fmt: skip


def test_a_fresh_one_changes_nothing_and_every_block_learns():
    model = Small()
    network = attach(Oft(rank=4, conv=2), {"transformer": model}, ".*")
    assert torch.equal(answer(model), answer(Small()))
    (model(INPUTS) - 1).square().mean().backward()
    assert all(weight.grad.abs().max() > 0 for weight in network.parameters())


def test_disabled_is_the_base_model_and_scaled_goes_part_of_the_way():
    linear = nn.ModuleDict({"only": nn.Linear(12, 24)})
    network = trained(linear)
    layer = linear["only"]
    with torch.no_grad():
        whole, base = layer(INPUTS), layer.get_base_layer()(INPUTS)
        with network.disabled():
            assert torch.equal(layer(INPUTS), base)
        with network.scaled(0.5):
            torch.testing.assert_close(layer(INPUTS), base + 0.5 * (whole - base))
        assert torch.equal(layer(INPUTS), whole)


@pytest.mark.parametrize("form", ["diffusers", "comfyui", "kohya"])
def test_a_file_of_every_form_comes_back_and_acts_beside_the_model_and_merged_into_it(form, tmp_path):
    network = trained(tiny.flux(layers=2).transformer, Flux.lora_targets, family="flux")
    network.save(tmp_path / "one.safetensors", {}, "fp32", form)
    tensors = load_file(tmp_path / "one.safetensors")
    start = {"diffusers": "transformer.", "comfyui": ("diffusion_model.", "transformer."), "kohya": ("lora_unet_", "lycoris_")}[form]
    assert all(name.startswith(start) and name.endswith(".oft_blocks") for name in tensors)
    other = attach(Oft(rank=4), {"transformer": tiny.flux(layers=2).transformer}, Flux.lora_targets, family="flux")
    other.load(tmp_path / "one.safetensors")
    assert all(torch.equal(one, two) for one, two in zip(network.parameters(), other.parameters(), strict=True))

    layers = split(canonical(tensors, {}))
    x = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    model = tiny.flux(layers=2).transformer
    Beside(model, {name.removeprefix("transformer."): layer for name, layer in layers.items()})
    for path in ("transformer_blocks.1.attn.to_q", "single_transformer_blocks.0.proj_mlp"):
        ours, plain = network._layers[f"transformer.{path}"], tiny.flux(layers=2).transformer.get_submodule(path)
        with torch.no_grad():
            torch.testing.assert_close(model.get_submodule(path)(x), ours(x))
            plain.weight.copy_(layers[f"transformer.{path}"].onto(plain.weight))
            torch.testing.assert_close(plain(x), ours(x), rtol=1e-4, atol=1e-5)


def test_a_file_from_elsewhere_with_a_limit_and_lengths_acts_as_in_comfyui(tmp_path):
    torch.manual_seed(0)
    blocks, lengths = torch.randn(8, 4, 4), torch.rand(32, 1) + 0.5
    name = "lycoris_transformer_blocks_0_attn_to_q"
    save_file({f"{name}.oft_blocks": blocks, f"{name}.rescale": lengths, f"{name}.alpha": torch.tensor(1.5)}, tmp_path / "far.safetensors")
    layer = split(canonical(load_file(tmp_path / "far.safetensors"), {}, family="flux"))["transformer.transformer_blocks.0.attn.to_q"]
    weight = torch.randn(32, 32)
    torch.testing.assert_close(layer.onto(weight), turned(weight, blocks, 1.5) * lengths, rtol=1e-4, atol=1e-5)
    model = nn.ModuleDict({"q": nn.Linear(32, 32)})
    plain, x = model["q"], torch.randn(3, 32)
    with torch.no_grad():
        right = nn.functional.linear(x, layer.onto(plain.weight), plain.bias)
        Beside(model, {"q": layer})
        torch.testing.assert_close(model["q"](x), right, rtol=1e-4, atol=1e-5)


def test_rows_that_cut_a_block_cannot_be_taken():
    layer = split({"x.oft_blocks": torch.randn(4, 4, 4)})["x"]
    assert layer.take("x", [(4, 12)]).size == (8, None)
    with pytest.raises(JobError, match="OFT of the layer x"):
        layer.take("x", [(2, 6)])
