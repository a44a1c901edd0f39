"""Weights that stay in memory: the numbers are those of weights that do not, bit for bit."""

from __future__ import annotations

import pytest
import tiny
import torch

from engine.errors import JobError
from engine.families.defaults import ModelDefaults
from engine.families.flux import Flux
from engine.families.sources import Quantization
from engine.jobs import Lora
from engine.network.attach import attach
from engine.runtime import loading
from engine.runtime.offload import Conveyor, blocks_of, offload
from engine.runtime.quantize import quantize

CPU = torch.device("cpu")


def learnt(
    fraction: float, kind: str | None = None, checkpointing: bool = False, dtype: torch.dtype = torch.float32, compute: bool = False
):
    """The answer, and the gradients of a LoRA on a model of which that share is offloaded."""
    pipe = tiny.flux(layers=2)
    pipe.transformer.to(dtype)
    family = Flux(pipe, ModelDefaults.model_validate(tiny.DEFAULTS), None)
    if kind:
        list(quantize(pipe.transformer, Quantization(kind), CPU, "transformer"))
    offload(pipe.transformer, fraction, CPU)
    network = attach(Lora(rank=4), {"transformer": pipe.transformer}, Flux.lora_targets, seed=1, family="flux")
    if checkpointing:
        pipe.transformer.enable_gradient_checkpointing()
    pipe.transformer.train()
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.1)
    cond = {"prompt_embeds": torch.randn(1, 5, 32, dtype=dtype), "pooled_prompt_embeds": torch.randn(1, 32, dtype=dtype)}
    noisy = torch.randn(1, 1, 16, 24).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=compute):
        answer = family.predict(noisy, torch.tensor([0.5]).to(dtype), cond)
    answer.float().square().mean().backward()
    return [answer.detach(), *(weight.grad for weight in network.parameters())]


WAYS = {
    "plain": {},
    "checkpointed": {"checkpointing": True},
    "quantized": {"kind": "qint8"},
    "in 4 bits, checkpointed": {"kind": "qint4", "checkpointing": True},
    "bf16": {"dtype": torch.bfloat16, "compute": True},
    "fp32 with arithmetic in bf16": {"compute": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_offloaded_is_exactly_as_not_offloaded(way):
    here, away = learnt(0.0, **WAYS[way]), learnt(1.0, **WAYS[way])
    assert all(torch.equal(one, other) for one, other in zip(here, away, strict=True))
    assert all(gradient.any() for gradient in here)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0), (0.25, 1), (0.5, 2), (0.75, 3), (1.0, 4)])
def test_the_share_is_kept_spread_out_and_the_same_each_time(fraction, expected):
    first, second = (offload(tiny.flux(layers=2).transformer, fraction, CPU) for _ in range(2))
    assert len(first) == expected and first == second
    assert fraction != 0.5 or first == ["transformer_blocks.1", "single_transformer_blocks.1"]


def test_each_layer_of_an_offloaded_block_is_fetched_for_each_pass(monkeypatch):
    taken = []
    take = Conveyor.take
    monkeypatch.setattr(Conveyor, "take", lambda self, one, backward: taken.append((one, backward)) or take(self, one, backward))
    learnt(1.0)
    forward = [one for one, backward in taken if not backward]
    linear = [m for block in blocks_of(tiny.flux(layers=2).transformer).values() for m in block.modules() if isinstance(m, torch.nn.Linear)]
    assert len(set(forward)) == len(forward) == len(linear)
    assert {one for one, backward in taken if backward} < set(forward)


def test_moving_the_model_leaves_the_weights_where_they_are():
    model = tiny.flux().transformer
    offload(model, 1.0, CPU)
    layer = model.transformer_blocks[0].attn.to_q
    model.to("meta")
    assert layer.weight.device.type == "cpu" and layer.bias.device.type == "meta" and model.x_embedder.weight.is_meta
    assert "transformer_blocks.0.attn.to_q.weight" in model.state_dict()


def test_blocks_are_found_without_a_list_of_them():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.layers = torch.nn.Linear(2, 2), torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))

    assert list(blocks_of(Model())) == ["layers.0", "layers.1", "layers.2"]


def test_a_kind_that_cannot_be_offloaded_is_refused():
    model = tiny.flux().transformer
    list(quantize(model, Quantization("nf4"), CPU, "transformer"))
    with pytest.raises(JobError, match="cannot be offloaded") as caught:
        offload(model, 1.0, CPU)
    assert "qfloat8" in caught.value.hint


def test_quantized_layers_are_put_aside_one_by_one_where_they_are_to_be_offloaded(make_job, run, monkeypatch):
    """Or all of them would be on the card before the first is streamed to it."""
    model = tiny.flux().transformer
    list(quantize(model, Quantization("qint8"), CPU, "transformer", torch.device("meta")))
    assert {layer.weight.device.type for layer in model.modules() if type(layer).__name__ == "QLinear"} == {"meta"}
    seen = {}

    def spy(part, plan, device, name, rest):
        seen[name] = rest
        return quantize(part, plan, device, name, rest)

    monkeypatch.setattr(loading, "quantize", spy)
    run(make_job(model__quantize=True, model__qtype="qint8", model__layer_offloading=True, train__steps=1, sample__sample_every=None))
    assert seen == {"transformer": CPU, "text_encoder": None, "text_encoder_2": None}


def test_on_a_processor_it_is_said_that_it_does_nothing(make_job, run):
    events = run(make_job(model__layer_offloading=True, train__steps=1, sample__sample_every=None))
    assert [e.message for e in events if e.kind == "warned"] == [
        "model.layer_offloading has no effect on a processor: the weights are in its memory anyway."
    ]
    failed = run(make_job(model__layer_offloading=True, network={"type": "full"}), "full")[-1]
    assert failed.kind == "failed" and "cannot be trained" in failed.message
