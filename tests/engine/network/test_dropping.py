"""What is left out at random while an adapter learns: kohya's and LyCORIS' formulas, written out here a second time."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from engine.jobs import Dora, Loha, Lokr, Lora, Oft
from engine.network.attach import attach

INPUTS = torch.randn(5, 4, 12, generator=torch.Generator().manual_seed(1))
KINDS = {
    "lora": Lora(rank=4), "dora": Dora(rank=4), "lokr": Lokr(), "lokr with a rank": Lokr(lokr_full_rank=False, rank=2), "loha": Loha(rank=3),
    "oft": Oft(rank=4),
}  # fmt: skip


class Both(nn.Module):
    """A linear layer, and a convolution after it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.flat, self.wide = nn.Linear(12, 24), nn.Conv2d(6, 8, 3, padding=1)

    def forward(self, x):
        return self.flat(x), self.wide(x.reshape(5, 6, 4, 2))


def trained(settings, model=None):
    network = attach(settings.model_copy(update={"conv": 3}), {"transformer": model or Both()}, ".*", seed=2)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)
    return network


def answers(network, seed=7):
    torch.manual_seed(seed)
    return network.modules["transformer"](INPUTS)


def with_dropout(name, **share):
    network = trained(KINDS[name].model_copy(update=share))
    network.modules["transformer"].train()
    return network


@pytest.mark.parametrize("name", KINDS)
def test_a_module_is_left_out_whole_and_as_often_as_it_says(name):
    network, plain = with_dropout(name, module_dropout=0.3), trained(KINDS[name])
    with torch.no_grad():
        whole, base = answers(plain), Both()(INPUTS)
        out = [0, 0]
        for seed in range(200):
            for place, (answer, one, other) in enumerate(zip(answers(network, seed), whole, base, strict=True)):
                is_base = torch.allclose(answer, other, atol=1e-6)
                assert is_base or torch.allclose(answer, one, atol=1e-6)
                out[place] += is_base
    assert all(abs(count / 200 - 0.3) < 0.11 for count in out)  # three deviations


@pytest.mark.parametrize("name", KINDS)
def test_what_is_left_out_gets_no_gradient_and_the_step_goes_on(name):
    network = with_dropout(name, module_dropout=0.999999)
    sum(answer.square().sum() for answer in answers(network)).backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in network.parameters())


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_left_out_when_it_does_not_learn_or_is_disabled(name):
    share = {"module_dropout": 0.5} if name == "oft" else {"module_dropout": 0.5, "rank_dropout": 0.5}
    network = with_dropout(name, **share)
    with torch.no_grad():
        with network.disabled():
            torch.testing.assert_close(answers(network), Both()(INPUTS))
        network.modules["transformer"].eval()
        assert all(torch.equal(one, other) for one, other in zip(answers(network), answers(trained(KINDS[name])), strict=True))


def test_ranks_of_a_lora_are_left_out_for_each_item_and_the_others_count_more():
    network = with_dropout("lora", rank_dropout=0.4)
    with torch.no_grad():
        (flat, wide), bases = answers(network), Both()(INPUTS)
        torch.manual_seed(7)
        for path, answer, base in (("flat", flat, bases[0]), ("wide", wide, bases[1])):
            layer = network._layers[f"transformer.{path}"]
            down, up = layer.lora_A["default"], layer.lora_B["default"]
            inputs = INPUTS if path == "flat" else INPUTS.reshape(5, 6, 4, 2)
            rank = layer.r["default"]
            kept = torch.rand(5, rank) > 0.4
            shape = (5, 1, rank) if path == "flat" else (5, rank, 1, 1)
            inner = functional.linear(inputs, down.weight) if path == "flat" else functional.conv2d(inputs, down.weight, padding=1)
            torch.testing.assert_close(answer, base + up(inner * kept.view(shape) / 0.6))


@pytest.mark.parametrize("name", ["lokr", "lokr with a rank", "loha"])
def test_rows_of_a_lokr_or_loha_are_left_out(name):
    network = with_dropout(name, rank_dropout=0.4)
    with torch.no_grad():
        parts = zip(answers(network), answers(trained(KINDS[name])), Both()(INPUTS), strict=True)
        for place, (answer, whole, base) in enumerate(parts):
            rows = (answer - base).transpose(0, -1 if place == 0 else 1).flatten(1)
            full = (whole - base).transpose(0, -1 if place == 0 else 1).flatten(1)
            gone = rows.abs().amax(1) < 1e-6
            assert 0 < gone.sum() < len(gone)
            torch.testing.assert_close(rows[~gone], full[~gone], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_checkpointing_leaves_out_the_same_again(name):
    share = {"module_dropout": 0.5} if name == "oft" else {"module_dropout": 0.5, "rank_dropout": 0.4}
    found = []
    for kept in (False, True):
        network = with_dropout(name, **share)
        model = network.modules["transformer"]
        torch.manual_seed(11)
        flat, wide = checkpoint(model, INPUTS, use_reentrant=False) if kept else model(INPUTS)
        torch.rand(3)
        (flat.square().sum() + wide.square().sum()).backward()
        found.append([weight.grad for weight in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
