"""Weights in few bits: what is learnt on them, what is kept of them, and what is said when they cannot be had."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import nn

from engine.errors import JobError
from engine.families.sources import Quantization
from engine.jobs import Lora, ModelSection
from engine.network.attach import attach
from engine.runtime import loading
from engine.runtime.loading import load_parts, open_family
from engine.runtime.quantize import Quanto, choose_layers, is_quantized, quantize

CPU = torch.device("cpu")
CLOSE = {"qfloat8": 0.99, "qint8": 0.999, "qint4": 0.96, "qint2": 0.6, "int8": 0.999, "nf4": 0.93, "fp4": 0.9}
"""Kind → cosine between what comes of it and what comes of the weights as they were."""
if importlib.util.find_spec("torchao"):
    CLOSE["float8"] = 0.99


def opened(base, **settings):
    return open_family(ModelSection(name_or_path=str(base), **settings), torch.float32)


def loaded(base, names=("transformer",), **settings):
    """The family with these parts, and the warnings."""
    family = opened(base, **settings)
    return family, [event for event in load_parts(family, names, CPU, torch.float32) if event.kind == "warned"]


def quantized_names(module: nn.Module) -> set[str]:
    return {name for name, layer in module.named_modules() if isinstance(layer, nn.Linear) and is_quantized(layer)}


def answer(family) -> torch.Tensor:
    torch.manual_seed(3)
    cond = {"prompt_embeds": torch.randn(1, 5, 32), "pooled_prompt_embeds": torch.randn(1, 32)}
    return family.predict(torch.randn(1, 1, 16, 24), torch.tensor([0.5]), cond)


def gradients(family) -> torch.Tensor:
    """Of a LoRA on all its layers, in one row."""
    network = attach(Lora(rank=4), {"transformer": family.denoiser}, family.lora_targets, family="flux")
    assert len(network.parameters()) == 2 * 17
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.1)
    answer(family).square().mean().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    return torch.cat([weight.grad.flatten() for weight in network.parameters()])


def closeness(one: torch.Tensor, other: torch.Tensor) -> float:
    return torch.cosine_similarity(one.flatten(), other.flatten(), 0).item()


@pytest.fixture
def files(home):
    return lambda: sorted(path for path in (home / "cache" / "quantized").rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", CLOSE)
def test_a_lora_learns_on_quantized_layers_almost_as_on_plain_ones_and_after_a_start_from_the_cache_exactly_so(
    base, kind, monkeypatch, files
):
    plain = gradients(loaded(base)[0])
    family, warnings = loaded(base, quantize=True, qtype=kind)
    assert warnings == [] and quantized_names(family.denoiser) == set(choose_layers(tiny.flux().transformer, (), ()))
    fresh = gradients(family)
    assert closeness(plain, fresh) > CLOSE[kind]
    assert not torch.equal(plain, fresh)
    assert {path.suffix for path in files()} == {".safetensors", ".json"}

    def never(*_):
        raise AssertionError("it is quantized again")

    monkeypatch.setattr(loading, "quantize", never)
    assert torch.equal(gradients(loaded(base, quantize=True, qtype=kind)[0]), fresh)


@pytest.mark.parametrize("kind", CLOSE)
def test_quantized_text_encoders_say_almost_the_same_and_from_the_cache_exactly_so(base, kind):
    names = ("text_encoder", "text_encoder_2")

    def features(**settings):
        family = loaded(base, names, **settings)[0]
        with torch.no_grad():
            return family, family.encode_prompts(["a red fox"])

    _, plain = features()
    family, first = features(quantize_te=True, qtype_te=kind)
    _, second = features(quantize_te=True, qtype_te=kind)
    assert all(quantized_names(getattr(family.pipe, name)) for name in names)
    for name, feature in plain.items():
        assert closeness(feature, first[name]) > CLOSE[kind]
        assert torch.equal(first[name], second[name])


def test_text_encoders_follow_the_denoiser_unless_they_are_named(base):
    def parts(**settings):
        return {name for name, source in opened(base, **settings).sources.items() if source.quantization}

    assert parts() == set()
    assert parts(quantize=True) == {"transformer", "text_encoder", "text_encoder_2"}
    assert parts(quantize=True, quantize_te=False) == {"transformer"}
    assert parts(quantize_te=True) == {"text_encoder", "text_encoder_2"}


def test_patterns_choose_among_linear_layers():
    model = tiny.flux().transformer
    every = set(choose_layers(model, (), ()))
    assert set(choose_layers(model, (), ("*time_text_embed*",))) == {name for name in every if "time_text_embed" not in name}
    assert set(choose_layers(model, ("transformer_blocks.*.attn.to_q",), ())) == {"transformer_blocks.0.attn.to_q"}


def test_a_pattern_that_fits_nothing_is_refused_with_near_names():
    with pytest.raises(JobError, match=r"quantize_kwargs.exclude: 'proj_outt' fits none") as caught:
        choose_layers(tiny.flux().transformer, (), ("proj_outt",))
    assert "proj_out" in caught.value.hint
    with pytest.raises(JobError, match="Nothing is left"):
        choose_layers(tiny.flux().transformer, (), ("*",))


def test_a_layer_that_fails_is_told_by_its_name_stays_as_it_is_and_is_tried_again(base, monkeypatch, files):
    works = Quanto.quantize

    def sometimes(self, layer):
        if layer.out_features == 4:  # the model's last layer
            raise RuntimeError("no kernel for this shape.\nmore")
        return works(self, layer)

    monkeypatch.setattr(Quanto, "quantize", sometimes)
    family, warnings = loaded(base, quantize=True, qtype="qint8")
    assert [w.message for w in warnings] == ["The layer transformer.proj_out could not be quantized to qint8: no kernel for this shape."]
    assert type(family.denoiser.proj_out) is nn.Linear and "x_embedder" in quantized_names(family.denoiser)
    assert files() == []


def test_a_kind_that_this_computer_cannot_do_is_one_sentence(base, monkeypatch):
    def fails(self, layer):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(Quanto, "quantize", fails)
    with pytest.raises(JobError, match="cannot hold weights as qint4: no such kernel") as caught:
        loaded(base, quantize=True, qtype="qint4")
    assert "model.qtype" in caught.value.hint


def test_a_package_that_is_missing_is_one_sentence(base, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(JobError, match="float8 needs the package torchao"):
        loaded(base, quantize=True, qtype="float8")


def test_a_cache_that_is_damaged_is_made_again_and_that_is_told(base, files):
    loaded(base, quantize=True, qtype="qint8")
    weights = next(path for path in files() if path.suffix == ".safetensors")
    before = weights.read_bytes()
    weights.write_bytes(before[: len(before) // 2])
    family, warnings = loaded(base, quantize=True, qtype="qint8")
    assert len(warnings) == 1 and "damaged" in warnings[0].message
    assert weights.read_bytes() == before and quantized_names(family.denoiser)
    assert loaded(base, quantize=True, qtype="qint8")[1] == []


def test_a_tensor_that_the_cache_has_lost_is_damage(base, files):
    from safetensors.torch import save_file

    loaded(base, quantize=True, qtype="qint8")
    weights = next(path for path in files() if path.suffix == ".safetensors")
    tensors = load_file(weights)
    del tensors["proj_out.bias"]
    save_file(tensors, weights)
    assert "damaged" in loaded(base, quantize=True, qtype="qint8")[1][0].message


def test_each_way_to_quantize_has_a_place_of_its_own(base, files, tmp_path):
    def places(**settings):
        loaded(base, quantize=True, **settings)
        return {path.parent for path in files()}

    one = places(qtype="qint8")
    assert places(qtype="qint8", low_vram=True) == one
    two = places(qtype="qint4")
    three = places(qtype="qint8", quantize_kwargs={"exclude": ["x_embedder"]})
    assert len(one) == 1 and len(two) == 2 and len(three) == 3
    other = tiny.save(tiny.flux(), tmp_path / "other")
    loaded(other, quantize=True, qtype="qint8")
    assert len({path.parent for path in files()}) == 4


def test_the_cache_holds_every_tensor_once_and_small(base, files):
    """Tied weights once; a layer takes as many bytes as it has weights."""
    loaded(base, ("text_encoder_2",), quantize_te=True, qtype_te="qint8")
    tensors = load_file(next(path for path in files() if path.suffix == ".safetensors"))
    index = json.loads(next(path for path in files() if path.suffix == ".json").read_text())
    assert index["same"] and not set(index["same"]) & set(tensors)
    assert tensors["encoder.block.0.layer.0.SelfAttention.q.weight._data"].dtype == torch.int8


def test_layer_by_layer_gives_the_same_weights():
    one, two = tiny.flux().transformer, tiny.flux().transformer
    list(quantize(one, Quantization("qint4"), CPU, "transformer"))
    list(quantize(two, Quantization("qint4", low_vram=True), CPU, "transformer"))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_quanto_compiles_nothing():
    """It would build kernels of its own at the first use: minutes, with a compiler that few people have."""
    layer = Quanto("qint4").quantize(nn.Linear(256, 128))
    layer(torch.randn(1, 256))
    from optimum.quanto.library.extensions import is_extension_available

    assert not is_extension_available("quanto_cpp") and not is_extension_available("quanto_cuda")


def test_weights_that_learn_cannot_be_quantized(make_job, run):
    failed = run(make_job(network={"type": "full"}, model__quantize=True))[-1]
    assert failed.kind == "failed" and "cannot be trained" in failed.message and "network.type" in failed.hint
    train = {"steps": 1, "train_text_encoder": True, "optimizer": "adamw"}
    failed = run(make_job(network={"type": "full"}, model__quantize_te=True, train=train))[-1]
    assert failed.kind == "failed" and "text encoders cannot be trained" in failed.message


@pytest.mark.parametrize("kind", ["qint8", "nf4"])
def test_a_quantized_run_samples_saves_and_continues_in_the_same_bytes(make_job, run, tmp_path, kind):
    job = make_job(model__quantize=True, model__qtype=kind)
    events = run(job, "whole")
    assert events[-1].kind == "finished" and not [e for e in events if e.kind == "warned"]

    def stop(event, control):
        control.stop = event.kind == "step" and event.step == 3

    run(job, "halves", stop)
    run(job, "halves")
    whole, halves = ((tmp_path / root / "tiny" / "tiny.safetensors").read_bytes() for root in ("whole", "halves"))
    assert whole == halves
