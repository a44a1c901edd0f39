"""What is trained, and what is left as it was."""

from __future__ import annotations

import pytest
import tiny
import torch

from engine.errors import JobError
from engine.families.flux import Flux
from engine.jobs import Full, Lora
from engine.network.attach import attach


def inputs() -> dict:
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return {
        "hidden_states": draw(1, 4, 4), "encoder_hidden_states": draw(1, 3, 32), "pooled_projections": draw(1, 32),
        "timestep": torch.tensor([0.5]), "img_ids": torch.zeros(4, 3), "txt_ids": torch.zeros(3, 3), "return_dict": False,
    }  # fmt: skip


@torch.no_grad()
def run(denoiser) -> torch.Tensor:
    return denoiser(**inputs())[0]


def test_a_lora_is_on_every_layer_that_the_family_names_and_on_no_other(make_network):
    network = make_network()
    layers = {name.rsplit(".lora_", 1)[0] for name, _ in network.named_parameters()}
    assert len(layers) == 2 * (12 + 5)  # q k v out, twice, and two layers of two MLPs; q k v, mlp, out
    assert "transformer.single_transformer_blocks.1.proj_out" in layers
    assert "transformer.proj_out" not in layers  # the model's last layer, which ends in the same name


def test_a_model_without_layers_that_match_is_an_error():
    with pytest.raises(JobError, match=r"no layer that its family trains.*model\.arch"):
        attach(Lora(), {"transformer": tiny.flux().transformer}, r"blocks\.\d+\.nothing")


def test_only_the_adapters_learn_and_in_fp32_whatever_the_model_is():
    pipe = tiny.flux()
    denoiser = pipe.transformer.to(torch.bfloat16)
    modules = {"transformer": denoiser, "text_encoder": pipe.text_encoder}
    network = attach(Lora(rank=2), modules, Flux.lora_targets)
    assert not any(p.requires_grad for p in pipe.text_encoder.parameters())  # none of its layers is a target
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert {id(p) for p in denoiser.parameters() if p.requires_grad} == {id(p) for p in network.parameters()}
    assert {p.dtype for p in denoiser.parameters() if not p.requires_grad} == {torch.bfloat16}


def test_the_same_seed_gives_the_same_first_weights_and_draws_nothing_from_the_global_generator():
    def first_weights(seed: int) -> dict[str, torch.Tensor]:
        return attach(Lora(rank=2), {"transformer": tiny.flux().transformer}, Flux.lora_targets, seed=seed).state_tensors()

    before = torch.get_rng_state()
    one = first_weights(5)
    tiny.flux()  # resets the global generator, as any other draw would move it
    torch.manual_seed(99)
    other, third = first_weights(5), first_weights(6)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(
        one["transformer.transformer_blocks.0.attn.to_q.lora_A.weight"],
        third["transformer.transformer_blocks.0.attn.to_q.lora_A.weight"],
    )
    denoiser = tiny.flux().transformer
    torch.set_rng_state(before)
    attach(Lora(rank=2), {"transformer": denoiser}, Flux.lora_targets, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fresh_lora_changes_nothing(make_network):
    network = make_network(trained=False)
    assert all(weight.abs().max() == 0 for name, weight in network.named_parameters() if "lora_B" in name)


def test_disabled_is_the_base_model_and_scaled_is_the_strength_and_both_end():
    denoiser = tiny.flux().transformer
    base = run(denoiser)
    network = attach(Lora(rank=4, alpha=2), {"transformer": denoiser}, Flux.lora_targets)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    trained = run(denoiser)
    assert (trained - base).abs().max() > 1e-3
    with network.disabled():
        torch.testing.assert_close(run(denoiser), base)
    with network.scaled(0.0):
        torch.testing.assert_close(run(denoiser), base)
    with network.scaled(0.5):
        assert 1e-4 < (run(denoiser) - base).abs().max() < (trained - base).abs().max()
    torch.testing.assert_close(run(denoiser), trained)
    assert all(p.requires_grad for p in network.parameters())  # training goes on after a preview of the base


def test_disabled_ends_when_the_code_inside_fails(make_network):
    network = make_network()
    with pytest.raises(ZeroDivisionError), network.disabled(), network.scaled(3):
        1 / 0
    layer = next(iter(network._layers.values()))
    assert not layer.disable_adapters and layer.scaling["default"] == 1


@pytest.mark.parametrize("alpha, scale", [(None, 1), (2, 0.5), (8, 2)])
def test_alpha_is_the_rank_unless_it_is_said(make_network, alpha, scale):
    network = make_network(alpha=alpha)
    assert {layer.scaling["default"] for layer in network._layers.values()} == {scale}


def test_only_and_ignore_choose_layers_by_pieces_of_their_full_names(make_network):
    network = make_network(
        only_if_contains=["transformer.single_transformer_blocks.1.", "attn.to_out"],
        ignore_if_contains=["to_k"],
    )
    layers = {name.rsplit(".lora_", 1)[0].removeprefix("transformer.") for name, _ in network.named_parameters()}
    single = {f"single_transformer_blocks.1.{name}" for name in ("attn.to_q", "attn.to_v", "proj_mlp", "proj_out")}
    assert layers == single | {f"transformer_blocks.{i}.attn.to_out.0" for i in (0, 1)}


@pytest.mark.parametrize(
    "pattern, near",
    [
        ("attn.to_qq", "attn.to_q"),
        ("single_blocks", "single_transformer_blocks"),
        ("%%%", "Names look like transformer."),
    ],
)
@pytest.mark.parametrize("key", ["only_if_contains", "ignore_if_contains"])
def test_a_pattern_that_matches_nothing_is_an_error_with_near_names(make_network, key, pattern, near):
    with pytest.raises(JobError) as error:
        make_network(**{key: [pattern]})
    assert f"network.{key}: {pattern!r} is in none" in error.value.message and near in error.value.hint


def test_nothing_left_to_train_is_an_error(make_network):
    with pytest.raises(JobError, match=r"Nothing is left to train.*only_if_contains"):
        make_network(only_if_contains=["attn"], ignore_if_contains=["transformer"])


def test_the_exact_weights_come_back_and_a_state_of_another_run_is_refused(make_network):
    one, other = make_network(), make_network(trained=False)
    other.load_state_tensors({name: tensor.clone() for name, tensor in one.state_tensors().items()})
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
    with pytest.raises(JobError, match="does not fit this run"):
        other.load_state_tensors(make_network(only_if_contains=["attn"]).state_tensors())
    with pytest.raises(JobError, match=r"shape \(8, 32\) in the file and \(4, 32\)"):
        other.load_state_tensors(make_network(rank=8).state_tensors())


def test_all_weights_are_trained_under_their_own_names_in_fp32_and_the_rest_is_frozen():
    pipe = tiny.flux()
    modules = {"transformer": pipe.transformer.to(torch.bfloat16), "text_encoder": pipe.text_encoder}
    network = attach(Full(), modules, "", ["attn", "text_encoder.encoder"], ["norm"])
    names = dict(network.named_parameters())
    assert names["transformer.transformer_blocks.0.attn.to_q.weight"] is pipe.transformer.transformer_blocks[0].attn.to_q.weight
    assert any(name.startswith("text_encoder.") for name in names) and not any("norm" in name for name in names)
    assert {weight.dtype for weight in names.values()} == {torch.float32}
    trained = {id(w) for module in modules.values() for w in module.parameters() if w.requires_grad}
    assert trained == {id(weight) for weight in names.values()}


def test_a_wrong_piece_of_a_name_for_all_weights_names_its_own_section():
    with pytest.raises(JobError, match=r"model\.only_if_contains: 'to_w' .*to_q"):
        attach(Full(), {"transformer": tiny.flux().transformer}, "", ["to_w"])


def test_all_weights_are_saved_as_folders_that_the_stock_classes_load(tmp_path):
    pipe = tiny.flux()
    network = attach(Full(), {"transformer": pipe.transformer, "text_encoder_2": pipe.text_encoder_2}, "")
    network.save(tmp_path / "model", {}, "fp32", "diffusers")
    other = type(pipe.transformer).from_pretrained(tmp_path / "model" / "transformer")
    saved = other.state_dict()
    assert all(torch.equal(saved[name], tensor) for name, tensor in pipe.transformer.state_dict().items())
    type(pipe.text_encoder_2).from_pretrained(tmp_path / "model" / "text_encoder_2")

    fresh = tiny.flux()
    with torch.no_grad():
        for weight in (*fresh.transformer.parameters(), *fresh.text_encoder_2.parameters()):
            weight.zero_()
    again = attach(Full(), {"transformer": fresh.transformer, "text_encoder_2": fresh.text_encoder_2}, "")
    again.load(tmp_path / "model")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), network.parameters()))


def test_all_weights_have_no_base_beside_them_and_no_strength():
    network = attach(Full(), {"transformer": tiny.flux().transformer}, "")
    with pytest.raises(JobError, match="base model is not there"):
        network.disabled()
    with network.scaled(0.5):
        pass
    assert not network.is_adapter
