"""Weights of 2 to 7 bits, and adapters that make up for what that costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file, save_file
from test_quantize import answer, closeness, loaded, quantized_names
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from engine.errors import JobError
from engine.families.catalog import load_family
from engine.jobs import Lora, TrainJob, load_job
from engine.jobs.load import dump_job
from engine.network.attach import attach
from engine.network.companions import recovering
from engine.plan import plan
from engine.runtime import loading
from engine.runtime.affine import AffineLinear
from engine.runtime.quantize import choose_layers

BITS = range(2, 8)
RECORDED = Path(__file__).parent / "fixtures" / "uintx.safetensors"
BLOCKS = {"include": ["*transformer_blocks*"]}


def linear(weight: torch.Tensor, bias: bool = False) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias, dtype=weight.dtype).requires_grad_(False)
    layer.weight.copy_(weight)
    return layer


@pytest.mark.parametrize("dtype", ["torch.bfloat16", "torch.float32"])
@pytest.mark.parametrize("bits", BITS)
def test_weights_are_those_of_the_library_that_adapters_were_made_with(bits, dtype):
    """Bit for bit: see fixtures/record_uintx.py."""
    recorded = load_file(RECORDED)
    assert torch.equal(AffineLinear.of(linear(recorded[f"{dtype}/weight"]), bits).weight, recorded[f"{dtype}/{bits}"])


@pytest.mark.parametrize("bits", BITS)
def test_a_layer_is_as_small_as_it_says_and_keeps_nothing_larger_for_the_backward_pass(bits):
    layer = AffineLinear.of(linear(torch.randn(128, 256, dtype=torch.bfloat16)), bits)
    assert sum(tensor.nbytes for tensor in layer.state_dict().values()) == 128 * 256 * bits // 8 + 128 * 4 * 3
    kept: list[torch.Tensor] = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        layer(torch.randn(4, 256, dtype=torch.bfloat16, requires_grad=True)).sum().backward()
    assert {tensor.shape for tensor in kept} == {layer.packed.shape, layer.step.shape}


@pytest.mark.parametrize("autocast", [False, True])
def test_answers_and_gradients_are_those_of_a_plain_layer_with_the_same_weight(autocast):
    packed = AffineLinear.of(linear(torch.randn(128, 192), bias=True), 3)
    plain = linear(packed.weight, bias=True)
    plain.bias.copy_(packed.bias)
    found = []
    for layer in (packed, plain):
        inputs = torch.linspace(-1, 1, 5 * 192).view(5, 192).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            made = layer(inputs)
        made.square().sum().backward()
        found.append((made, inputs.grad))
    assert found[0][0].dtype == found[1][0].dtype
    torch.testing.assert_close(found[0], found[1])


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """FLUX with blocks whose rows divide by 64."""
    pipe = tiny.flux()
    torch.manual_seed(0)
    config = {**pipe.transformer.config, "attention_head_dim": 32, "axes_dims_rope": [8, 8, 16]}
    pipe.register_modules(transformer=FluxTransformer2DModel.from_config(config))
    return tiny.save(pipe, tmp_path_factory.mktemp("wide") / "base")


def gradients(family) -> torch.Tensor:
    network = attach(Lora(rank=4), {"transformer": family.denoiser}, family.lora_targets, family="flux")
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.1)
    answer(family).square().mean().backward()
    return torch.cat([weight.grad.flatten() for weight in network.parameters()])


@pytest.mark.parametrize(("kind", "close"), [("uint2", 0.6), ("uint3", 0.9), ("uint4", 0.97), ("uint7", 0.999)])
def test_a_lora_learns_on_them_without_an_adapter_too_and_after_a_start_from_the_cache_exactly_so(wide, kind, close, monkeypatch):
    plain = gradients(loaded(wide)[0])
    family, warnings = loaded(wide, quantize=True, qtype=kind, quantize_kwargs=BLOCKS)
    assert warnings == [] and all("transformer_blocks" in name for name in quantized_names(family.denoiser))
    fresh = gradients(family)
    assert close < closeness(plain, fresh) < 1 and not torch.equal(plain, fresh)
    monkeypatch.setattr(loading, "quantize", None)
    assert torch.equal(gradients(loaded(wide, quantize=True, qtype=kind, quantize_kwargs=BLOCKS)[0]), fresh)


def test_layers_that_do_not_divide_stay_as_they_are_and_are_told(wide):
    family, warnings = loaded(wide, quantize=True, qtype="uint4")
    assert any(
        "transformer.x_embedder could not be quantized to uint4: its 4 inputs do not divide by 64" in one.message for one in warnings
    )
    every = choose_layers(loaded(wide)[0].denoiser, (), ())
    assert quantized_names(family.denoiser) == {name for name, layer in every.items() if layer.in_features % 64 == 0}


def adapter(path: Path, names: list[str], model: nn.Module, form: str = "transformer.{}", strength: float = 0.3) -> Path:
    generator, tensors = torch.Generator().manual_seed(4), {}
    for name in names:
        layer = model.get_submodule(name)
        tensors[f"{form.format(name)}.lora_A.weight"] = torch.randn(3, layer.in_features, generator=generator) * strength
        tensors[f"{form.format(name)}.lora_B.weight"] = torch.randn(layer.out_features, 3, generator=generator) * strength
    save_file(tensors, path)
    return path


NAMES = ["transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.proj_out", "transformer_blocks.0.norm1.linear", "x_embedder"]
"""More than what is trained, and one that cannot be quantized."""


@pytest.fixture
def recovery(wide, tmp_path) -> Path:
    return adapter(tmp_path / "recovery.safetensors", NAMES, loaded(wide)[0].denoiser)


def test_an_adapter_says_which_layers_are_quantized_and_acts_on_them_at_every_start(wide, recovery):
    by_hand = loaded(wide)[0]
    tensors = load_file(recovery)
    for name in NAMES:
        layer = by_hand.denoiser.get_submodule(name)
        start = layer.weight if name == "x_embedder" else AffineLinear.of(layer, 3).weight
        layer.weight.data = start + tensors[f"transformer.{name}.lora_B.weight"] @ tensors[f"transformer.{name}.lora_A.weight"]
    settings = {"quantize": True, "qtype": f"uint3|{recovery}"}
    family, warnings = loaded(wide, **settings)
    assert quantized_names(family.denoiser) == set(NAMES) - {"x_embedder"}
    assert ["bf16" in warnings[0].message, "x_embedder" in warnings[1].message] == [True, True] and len(warnings) == 2
    with torch.no_grad():
        torch.testing.assert_close(answer(family), answer(by_hand))
        assert torch.equal(answer(loaded(wide, **settings)[0]), answer(family))
        assert closeness(answer(family), answer(loaded(wide)[0])) < 0.999


def test_what_is_trained_on_an_adapter_is_saved_without_it(wide, recovery, make_job, run, tmp_path):
    """It is there while training and in samples; disabling or scaling the trained LoRA leaves it alone."""
    job = make_job(model={"name_or_path": str(wide), "quantize": True, "quantize_te": False, "qtype": f"uint3|{recovery}"})
    assert run(job)[-1].kind == "finished"
    folder = tmp_path / "out" / "tiny"
    trained = load_file(folder / "tiny.safetensors")
    assert not any("norm1" in name or "x_embedder" in name for name in trained)
    assert {min(tensor.shape) for tensor in trained.values()} == {4}
    without = make_job(model={"name_or_path": str(wide)}, sample__sample_every=4, train__steps=1)
    run(without, "plain")
    first = [sorted(path.glob("samples/*_00_*"))[0].read_bytes() for path in (folder, tmp_path / "plain" / "tiny")]
    assert first[0] != first[1]

    family = loaded(wide, quantize=True, qtype=f"uint3|{recovery}")[0]
    with torch.no_grad():
        before = answer(family)
        network = attach(Lora(rank=4), {"transformer": family.denoiser}, family.lora_targets, family="flux")
        for weight in network.parameters():
            weight.normal_()
        assert not torch.allclose(answer(family), before)
        with network.disabled():
            torch.testing.assert_close(answer(family), before)


def test_another_adapter_is_not_mixed_up_with_what_the_cache_keeps(wide, tmp_path):
    model = loaded(wide)[0].denoiser
    for name in ("transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_k"):
        file = adapter(tmp_path / f"{name}.safetensors", [name], model)
        assert quantized_names(loaded(wide, quantize=True, qtype="uint3", accuracy_recovery_adapter=str(file))[0].denoiser) == {name}


def test_an_adapter_has_one_layer_each_for_both_experts(tmp_path):
    family = load_family("wan22_14b")
    case = next(case for case in tiny.CASES if case.name == "wan 2.2 14b")
    model = case.make().transformer
    first = adapter(tmp_path / "first.safetensors", ["blocks.0.attn1.to_q"], model, "diffusion_model.transformer_1.{}")
    second = adapter(tmp_path / "second.safetensors", ["blocks.0.ffn.net.2"], model, "diffusion_model.transformer_2.{}")
    both = tmp_path / "both.safetensors"
    save_file(load_file(first) | load_file(second), both)
    assert list(recovering(model, "transformer", both, family)) == ["blocks.0.attn1.to_q"]
    assert list(recovering(model, "transformer_2", both, family)) == ["blocks.0.ffn.net.2"]
    with pytest.raises(JobError, match="nothing for the transformer_2"):
        recovering(model, "transformer_2", first, family)


def test_an_adapter_for_another_model_is_refused(wide, tmp_path):
    file = adapter(tmp_path / "narrow.safetensors", ["transformer_blocks.0.attn.to_q"], tiny.flux().transformer)
    with pytest.raises(JobError, match=r"narrow.safetensors was made for another base model: transformer_blocks.0.attn.to_q"):
        loaded(wide, quantize=True, qtype=f"uint3|{file}")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quantize": True, "qtype": "qint4"}, "weights of 2 to 7 bits"),
        ({"quantize": False, "qtype": "uint3"}, "weights of 2 to 7 bits"),
        ({"quantize": True, "qtype": "uint3", "assistant_lora_path": "a.safetensors"}, "do not go together"),
        ({"quantize": True, "qtype": "uint3", "quantize_kwargs": BLOCKS}, "said by the accuracy recovery adapter"),
    ],
)
def test_an_adapter_that_contradicts_the_job_is_refused(wide, recovery, settings, words):
    with pytest.raises(JobError, match=words):
        loaded(wide, accuracy_recovery_adapter=str(recovery), **settings)


def test_the_adapter_after_the_bar_is_a_setting_of_its_own():
    wanted = {"quantize": True, "qtype": "uint3|ostris/accuracy_recovery_adapters/x.safetensors"}
    process = {
        "type": "sd_trainer", "model": {"name_or_path": "x/y", "arch": "flux", **wanted}, "datasets": [{"folder_path": "x"}],
        "network": {"type": "lora", "linear": 4}, "train": {"steps": 1},
    }  # fmt: skip
    job = load_job({"job": "extension", "config": {"name": "x", "process": [process]}})
    assert isinstance(job, TrainJob)
    assert (job.model.qtype, job.model.accuracy_recovery_adapter) == ("uint3", "ostris/accuracy_recovery_adapters/x.safetensors")
    assert load_job(json.loads(json.dumps(job.model_dump(mode="json")))) == job and "uint3|" not in dump_job(job)
    with pytest.raises(JobError, match="model.qtype must be"):
        load_job({**job.model_dump(mode="json"), "model": {"name_or_path": "x", "qtype": "uint8|a"}})


def test_the_reckoning_counts_the_bits_the_steps_and_the_adapter(make_job):
    def model(**settings):
        stages = plan(make_job(model={"name_or_path": "Qwen/Qwen-Image", "quantize": True, **settings})).stages
        return next(dict(stage.parts)["model"] for stage in stages if stage.name == "Training")

    three, four = model(qtype="uint3"), model(qtype="uint4")
    assert four - three == pytest.approx(20.43 / 8 * 1.06, rel=0.01) and 8.5 < three < 10
    assert 0.05 < model(qtype="uint3|a/b/c.safetensors") - three < 0.5
