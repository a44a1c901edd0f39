"""LoKr, LoHa and DoRA: what they compute, what they keep, and what stands in their files."""

from __future__ import annotations

import random

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engine.errors import JobError
from engine.families.flux import Flux
from engine.jobs import Dora, Loha, Lokr, Lora
from engine.network.attach import attach
from engine.network.formats import canonical
from engine.network.layers import split

KINDS = {
    "lora": Lora(rank=3, alpha=2),
    "lokr": Lokr(),
    "lokr with a factor": Lokr(lokr_factor=4),
    "lokr with a rank": Lokr(lokr_full_rank=False, rank=2, alpha=1, lokr_factor=2),
    "loha": Loha(rank=3, alpha=2),
    "dora": Dora(rank=3, alpha=2),
}
FORMS = ["diffusers", "comfyui", "kohya"]


class Small(nn.Module):
    """A linear layer with and without bias, a convolution of 1x1 and one of 3x3."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(12, 24), nn.Linear(24, 8, bias=False)
        self.point, self.wide = nn.Conv2d(8, 6, 1), nn.Conv2d(6, 4, 3, padding=1, stride=2)

    def forward(self, x):
        x = self.second(self.first(x).tanh()).tanh()
        return self.wide(self.point(x.movedim(-1, 1)).tanh())


INPUTS = torch.randn(2, 4, 4, 12, generator=torch.Generator().manual_seed(1))


def trained(settings, model=None, seed=5, targets=".*", **more):
    """A network whose weights are not those that it began with."""
    network = attach(settings, {"transformer": model or Small()}, targets, seed=seed, **more)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)
    return network


def by_hand(network) -> dict[str, torch.Tensor]:
    """The changed weight of every layer, written out from the formulas that ComfyUI uses: strength 1, the base as it is."""
    tensors, found = network._canonical(), {}
    for path in {name.split(".lo")[0].split(".hada")[0] for name in tensors if not name.endswith("alpha")}:
        own = {name.removeprefix(f"{path}."): t.float() for name, t in tensors.items() if name.startswith(f"{path}.")}
        weight = network._layers[path].get_base_layer().weight.detach()
        alpha = own["alpha"].item()
        if "hada_w1_a" in own:
            delta = (own["hada_w1_a"] @ own["hada_w1_b"]) * (own["hada_w2_a"] @ own["hada_w2_b"]) * alpha / own["hada_w1_b"].shape[0]
        elif any(name.startswith("lokr") for name in own):
            w1 = own["lokr_w1"]
            w2, scale = (
                (own["lokr_w2"], 1) if "lokr_w2" in own else (own["lokr_w2_a"] @ own["lokr_w2_b"], alpha / own["lokr_w2_b"].shape[0])
            )
            delta = torch.kron(w1.reshape(*w1.shape, *(1 for _ in w2.shape[2:])), w2) * scale
        else:
            down, up = own["lora_A.weight"].flatten(1), own["lora_B.weight"].flatten(1)
            delta = up @ down * alpha / down.shape[0]
        changed = weight + delta.reshape(weight.shape)
        if "lora_magnitude_vector" in own:
            length = changed.flatten(1).norm(dim=1)
            changed = changed * (own["lora_magnitude_vector"].flatten() / length).reshape(-1, *(1 for _ in weight.shape[1:]))
        found[path.removeprefix("transformer.")] = changed
    return found


def answer(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(INPUTS)


@pytest.mark.parametrize("conv", [None, 2])
@pytest.mark.parametrize("name", KINDS)
def test_the_answers_are_those_of_the_formulas(name, conv):
    network = trained(KINDS[name].model_copy(update={"conv": conv, "conv_alpha": 3.0}))
    plain = Small()
    changed = by_hand(network)
    assert set(changed) == {"first", "second", "point"} | ({"wide"} if conv else set())
    with torch.no_grad():
        for path, weight in changed.items():
            plain.get_submodule(path).weight.copy_(weight)
    assert (answer(plain) - answer(Small())).abs().max() > 0.01
    torch.testing.assert_close(answer(network.modules["transformer"]), answer(plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_answers_are_those_of_the_formulas_for_any_rank_and_factor(seed):
    draw = random.Random(seed)
    for _ in range(6):
        settings = draw.choice(
            [
                Lora(rank=draw.randint(1, 9), alpha=draw.uniform(0.5, 9)),
                Dora(rank=draw.randint(1, 9), alpha=draw.uniform(0.5, 9)),
                Loha(rank=draw.randint(1, 9), alpha=draw.uniform(0.5, 9)),
                Lokr(lokr_full_rank=draw.random() < 0.3, rank=draw.randint(1, 9), alpha=2.5, lokr_factor=draw.choice([-1, 2, 3, 4])),
            ]
        )
        network, plain = trained(settings, seed=draw.randint(0, 99)), Small()
        with torch.no_grad():
            for path, weight in by_hand(network).items():
                plain.get_submodule(path).weight.copy_(weight)
        torch.testing.assert_close(answer(network.modules["transformer"]), answer(plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_a_fresh_one_changes_nothing_and_every_weight_learns(name):
    model = Small()
    network = attach(KINDS[name].model_copy(update={"conv": 2}), {"transformer": model}, ".*", seed=3)
    torch.testing.assert_close(answer(model), answer(Small()), rtol=0, atol=1e-6)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    first = {key: tensor.clone() for key, tensor in network.state_tensors().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    losses = []
    for _ in range(8):
        loss = (model(INPUTS) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(not torch.equal(first[key], now) for key, now in network.state_tensors().items())
    base = dict(Small().named_parameters())
    assert all(
        torch.equal(base[key.replace(".base_layer", "")], weight) for key, weight in model.named_parameters() if not weight.requires_grad
    )


@pytest.mark.parametrize("name", KINDS)
def test_the_first_weights_follow_from_the_seed_and_the_state_is_exact(name):
    one, same, other = (attach(KINDS[name], {"transformer": Small()}, ".*", seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters()))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
    moved = trained(KINDS[name])
    one.load_state_tensors({key: tensor.clone() for key, tensor in moved.state_tensors().items()})
    assert torch.equal(answer(one.modules["transformer"]), answer(moved.modules["transformer"]))


@pytest.mark.parametrize("name", KINDS)
def test_disabled_is_the_base_model_and_scaled_is_as_far_from_it_as_it_says(name):
    linear = nn.ModuleDict({"only": nn.Linear(12, 24)})
    network = trained(KINDS[name], linear)
    layer = linear["only"]
    with torch.no_grad():
        whole, base = layer(INPUTS), layer.get_base_layer()(INPUTS)
        assert (whole - base).abs().max() > 0.05
        with network.disabled():
            torch.testing.assert_close(layer(INPUTS), base)
        for strength in (0.0, 0.5, 2.0):
            with network.scaled(strength):
                torch.testing.assert_close(layer(INPUTS), base + strength * (whole - base), rtol=1e-4, atol=1e-5)
        with pytest.raises(ZeroDivisionError), network.scaled(3), network.disabled():
            1 / 0
        torch.testing.assert_close(layer(INPUTS), whole, rtol=0, atol=0)


def on_flux(settings, trained_weights=True):
    model = tiny.flux(layers=2).transformer
    if trained_weights:
        return trained(settings, model, seed=4, targets=Flux.lora_targets, family="flux")
    return attach(settings, {"transformer": model}, Flux.lora_targets, seed=9, family="flux")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_every_form_comes_back_as_the_same_weights(name, form, tmp_path):
    one, other = on_flux(KINDS[name]), on_flux(KINDS[name], trained_weights=False)
    one.save(tmp_path / "one.safetensors", {}, "fp32", form)
    other.load(tmp_path / "one.safetensors")
    if name == "lora" and form != "diffusers":  # put together and cut again: the same update
        one.save(tmp_path / "a.safetensors", {}, "fp32", "diffusers")
        other.save(tmp_path / "b.safetensors", {}, "fp32", "diffusers")
        one, other = (split(canonical(load_file(tmp_path / f"{x}.safetensors"), {})) for x in "ab")
        for path, layer in one.items():
            torch.testing.assert_close(layer.delta(), other[path].delta(), rtol=0, atol=1e-6)
        return
    for (key, weight), again in zip(one.named_parameters(), other.parameters()):
        torch.testing.assert_close(again, weight, rtol=1e-6, atol=1e-7, msg=key)
    again = tmp_path / "again.safetensors"
    other.save(again, {}, "fp32", form)
    if form != "diffusers":  # there a scale is multiplied into the weights
        assert again.read_bytes() == (tmp_path / "one.safetensors").read_bytes()


PLAIN, FUSED = "double_blocks.0.img_mlp.2", "transformer_blocks.0.attn.to_q"
ENDINGS = {
    "lokr": {"lokr_w1": (4, 8), "lokr_w2": (8, 16), "alpha": ()},
    "lokr with a factor": {"lokr_w1": (4, 4), "lokr_w2": (8, 32), "alpha": ()},
    "lokr with a rank": {"lokr_w1": (2, 2), "lokr_w2_a": (16, 2), "lokr_w2_b": (2, 64), "alpha": ()},
    "loha": {"hada_w1_a": (32, 3), "hada_w1_b": (3, 128), "hada_w2_a": (32, 3), "hada_w2_b": (3, 128), "alpha": ()},
    "dora": {"lora_down.weight": (3, 128), "lora_up.weight": (32, 3), "dora_scale": (32, 1), "alpha": ()},
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_names_and_shapes_are_those_that_comfyui_and_lycoris_look_for(name, tmp_path):
    network = on_flux(KINDS[name])
    found = {}
    for form in FORMS:
        network.save(tmp_path / form, {}, "fp32", form)
        found[form] = {key: tuple(tensor.shape) for key, tensor in load_file(tmp_path / form).items()}
    for form, start, fused in (
        ("comfyui", f"diffusion_model.{PLAIN}", f"transformer.{FUSED}"),
        ("kohya", f"lora_unet_{PLAIN}".replace(".", "_"), f"lycoris_{FUSED}".replace(".", "_")),
    ):
        own = {key.removeprefix(f"{start}."): shape for key, shape in found[form].items() if key.startswith(f"{start}.")}
        assert own == ENDINGS[name]
        # a layer that is a third of a native one keeps diffusers' path, which is read as well
        assert {key.removeprefix(f"{fused}.") for key in found[form] if key.startswith(f"{fused}.")} == set(ENDINGS[name])
    where = "transformer.transformer_blocks.0.ff.net.2."
    own = {key.removeprefix(where): shape for key, shape in found["diffusers"].items() if key.startswith(where)}
    if name == "dora":
        assert own == {"lora_A.weight": (3, 128), "lora_B.weight": (32, 3), "lora_magnitude_vector": (32,)}
    else:
        assert own == ENDINGS[name]


def test_a_whole_lokr_has_a_scale_of_one_whatever_alpha_its_file_says(tmp_path):
    network = on_flux(Lokr(rank=4, alpha=1))
    network.save(tmp_path / "one", {}, "fp32", "diffusers")
    tensors = load_file(tmp_path / "one")
    assert {tensor.item() for key, tensor in tensors.items() if key.endswith(".alpha")} == {1.0}
    odd = {key: torch.tensor(9999999999.0) if key.endswith(".alpha") else tensor for key, tensor in tensors.items()}
    save_file(odd, tmp_path / "odd")
    other = on_flux(Lokr(), trained_weights=False)
    other.load(tmp_path / "odd")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters()))


def test_an_alpha_that_differs_is_taken_into_the_weights(tmp_path):
    for settings, other in (
        (Loha(rank=3, alpha=2), Loha(rank=3, alpha=6)),
        (KINDS["lokr with a rank"], Lokr(lokr_full_rank=False, rank=2, alpha=4, lokr_factor=2)),
    ):
        one, two = on_flux(settings), on_flux(other, trained_weights=False)
        one.save(tmp_path / "one", {}, "fp32", "comfyui")
        two.load(tmp_path / "one")
        first, second = by_hand(one), by_hand(two)
        for path, weight in first.items():
            torch.testing.assert_close(second[path], weight, rtol=0, atol=1e-5)


def test_stock_diffusers_reads_a_dora_with_the_same_answers(tmp_path):
    network = on_flux(KINDS["dora"])
    network.save(tmp_path / "dora.safetensors", {}, "fp32", "diffusers")
    pipe = tiny.flux(layers=2)
    pipe.load_lora_weights(tmp_path / "dora.safetensors")
    x = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    for path in ("transformer_blocks.1.attn.to_q", "single_transformer_blocks.0.proj_mlp"):
        ours, theirs = network._layers[f"transformer.{path}"], pipe.transformer.get_submodule(path)
        assert (ours(x) - ours.get_base_layer()(x)).abs().max() > 0.01
        torch.testing.assert_close(theirs(x), ours(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_it_learns_in_half_precision_as_on_a_graphics_card(name):
    network = trained(KINDS[name].model_copy(update={"conv": 2}), Small().to(torch.bfloat16))
    whole = trained(KINDS[name].model_copy(update={"conv": 2}))
    with torch.autocast("cpu", torch.bfloat16):
        network.modules["transformer"](INPUTS).float().square().mean().backward()
    whole.modules["transformer"](INPUTS).square().mean().backward()
    for half, full in zip(network.parameters(), whole.parameters()):
        assert half.grad.dtype == torch.float32
        assert (half.grad - full.grad).norm() < 0.1 * full.grad.norm() + 1e-3


def test_packed_weights_of_another_shape_do_not_matter():
    """As 4-bit layers have them."""

    class Packed(nn.Linear):
        def __init__(self):
            super().__init__(12, 24)
            self.dense = self.weight.detach().clone()
            self.weight = nn.Parameter(torch.zeros(144, 1, dtype=torch.uint8), requires_grad=False)

        def forward(self, x):
            return nn.functional.linear(x, self.dense, self.bias)

    for settings in (Lokr(), Loha(rank=2)):
        model = nn.ModuleDict({"only": Packed()})
        network = attach(settings, {"transformer": model}, ".*")
        model["only"](INPUTS).square().sum().backward()
        assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize(
    "saved, wanted, message",
    [
        ("loha", "lora", r"is a loha, this run trains a lora. Set network.type to loha"),
        ("lokr with a rank", "lokr", r"has rank 2, this run wants none"),
        ("lokr", "lokr with a rank", r"has rank none, this run wants 2. Set network.lokr_full_rank to true"),
        ("lokr", "lokr with a factor", r"has the shape"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_to_do(saved, wanted, message, tmp_path):
    on_flux(KINDS[saved]).save(tmp_path / "one.safetensors", {}, "fp32", "diffusers")
    with pytest.raises(JobError, match=message):
        on_flux(KINDS[wanted]).load(tmp_path / "one.safetensors")


def test_convolutions_of_3x3_are_trained_only_when_conv_says_so_and_with_its_rank():
    network = attach(Lora(rank=4, conv=2, conv_alpha=1), {"transformer": Small()}, ".*")
    assert {name: network._layers[f"transformer.{name}"].r["default"] for name in ("first", "point", "wide")} == {
        "first": 4,
        "point": 4,
        "wide": 2,
    }
    assert network._layers["transformer.wide"].scaling["default"] == 0.5 and network._layers["transformer.point"].scaling["default"] == 1
    assert "transformer.wide" not in attach(Lora(), {"transformer": Small()}, ".*")._layers
    assert network.idle == [] and on_flux(Lora(conv=4)).idle == ["network.conv"]  # FLUX has no such layer


def test_names_are_chosen_as_tutorials_write_them():
    for pattern in (
        "transformer.single_transformer_blocks.1.proj_out", "single_transformer_blocks.1.proj_out",
        "lora_unet_single_transformer_blocks_1_proj_out", "lora_transformer_single_transformer_blocks_1_proj_out",
        "single_transformer_blocks_1_proj_out",
    ):  # fmt: skip
        network = on_flux(Lokr(only_if_contains=[pattern]), trained_weights=False)
        assert list(network._layers) == ["transformer.single_transformer_blocks.1.proj_out"]
        assert len(on_flux(Lokr(ignore_if_contains=[pattern]), trained_weights=False)._layers) == 33


def test_the_first_expert_and_the_second_have_files_of_their_own(tmp_path):
    models = {part: tiny.flux(layers=1).transformer for part in ("transformer", "transformer_2")}
    network = attach(Lora(rank=2), models, Flux.lora_targets, family="flux")
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_()
    with pytest.raises(JobError, match="one file for each of transformer and transformer_2"):
        network.save(tmp_path / "both", {}, "fp32", "comfyui")
    for part in models:
        network.save(tmp_path / part, {}, "fp32", "comfyui", part=part)
        names = load_file(tmp_path / part)
        assert len(names) == 10 * 3 and all(name.startswith("diffusion_model.") for name in names)
    other = attach(Lora(rank=2), {part: tiny.flux(layers=1).transformer for part in models}, Flux.lora_targets, family="flux")
    before = {key: tensor.clone() for key, tensor in other.state_tensors().items()}
    other.load(tmp_path / "transformer_2", part="transformer_2")
    found = other.state_tensors()
    single = [key for key in found if key.endswith("proj_out.lora_A.weight")]  # not one of those that are put together
    assert len(single) == 2 and all(torch.equal(found[key], network.state_tensors()[key]) for key in single if "_2." in key)
    assert all(torch.equal(found[key], before[key]) for key in found if "transformer_2." not in key)
