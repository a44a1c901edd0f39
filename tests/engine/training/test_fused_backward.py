"""Steps that are made while gradients are still being computed: the same as all at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.training.optimizers import make_optimizer
from engine.training.rounding import EachOptimizer

CPU = torch.device("cpu")


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def train(name: str, each: bool, most: float | None, steps: int = 5, groups: bool = False) -> list[torch.Tensor]:
    made, data = model(), torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    weights = list(made.parameters())
    parts = [{"name": "one", "params": weights[:2], "lr": 1e-2}, {"name": "two", "params": weights[2:], "lr": 1e-3}]
    optimizer = make_optimizer(name, parts if groups else weights, 1e-3, {"weight_decay": 0.1} if name == "adamw" else {}, CPU, each=each)
    if each:
        assert isinstance(optimizer, EachOptimizer)
        optimizer.step_in_backward(most)
    for _ in range(steps):
        made(data).square().sum().backward()
        if each:
            assert all(weight.grad is None for weight in weights)
        elif most is not None:
            for weight in weights:  # each by itself, as it is told
                nn.utils.clip_grad_norm_([weight], most)
        optimizer.step()
        optimizer.zero_grad()
    return weights


@pytest.mark.parametrize("most", [None, 0.05])
@pytest.mark.parametrize("name", ["adamw", "adam", "adafactor", "lion", "came", "adagrad", "ademamix", "automagic", "muon"])
def test_the_weights_are_the_same_to_the_bit(name, most):
    one, other = train(name, True, most), train(name, False, most)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0], next(model().parameters()))


def test_each_group_keeps_its_rate():
    one, other = train("adamw", True, None, groups=True), train("adamw", False, None, groups=True)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_gradient_is_gone_before_the_next_one_is_whole():
    made, at_once = model(), []
    optimizer = make_optimizer("adamw", list(made.parameters()), 1e-2, {}, CPU, each=True)
    optimizer.step_in_backward(None)
    for weight in made.parameters():
        weight.register_hook(lambda gradient: at_once.append(sum(one.grad is not None for one in made.parameters())))
    made(torch.randn(4, 6)).square().sum().backward()
    assert len(at_once) == 6 and max(at_once) <= 1


def test_weights_in_bf16_are_rounded_as_they_move():
    made = model().to(torch.bfloat16)
    optimizer = make_optimizer("adamw", list(made.parameters()), 1e-2, {}, CPU, rounded=True)
    optimizer.step_in_backward(1.0)
    before = [weight.detach().clone() for weight in made.parameters()]
    made(torch.randn(4, 6, dtype=torch.bfloat16)).float().square().sum().backward()
    after = list(made.parameters())
    assert all(weight.dtype == torch.bfloat16 and weight.grad is None for weight in after)
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


def weights(tmp_path, root):
    return {path.name: path.read_bytes() for path in sorted((tmp_path / root / "tiny" / "tiny").rglob("*.safetensors"))}


def test_a_whole_run_gives_the_same_model_and_goes_on_to_the_same_bytes(make_job, run, tmp_path):
    full = {"network": {"type": "full"}, "sample__sample_every": None, "train__max_grad_norm": None}
    run(make_job(**full), "plain")
    fused = make_job(**full, train__fused_backward_pass=True)
    events = run(fused, "fused")
    assert not [event for event in events if event.kind in ("warned", "failed")], events
    run(fused, "halves", watch=lambda event, control: setattr(control, "stop", event.kind == "step" and event.step == 2))
    run(fused, "halves")
    assert weights(tmp_path, "plain") == weights(tmp_path, "fused") == weights(tmp_path, "halves") != {}


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"train__gradient_accumulation": 2}, "train.gradient_accumulation waits for several"),
        ({"train__optimizer": "prodigy"}, "looks at all weights at once"),
        ({"train__dtype": "fp16"}, "too large for fp16"),
    ],
)
def test_what_contradicts_it_is_refused(make_job, run, changes, words):
    train = {"train__fused_backward_pass": True}
    job = make_job(network={"type": "full"}, sample__sample_every=None, **train)
    job = job.model_copy(
        update={"train": job.train.model_copy(update={key.removeprefix("train__"): value for key, value in changes.items()})}
    )
    event = run(job)[-1]
    assert event.kind == "failed" and words in event.message and event.hint


def test_on_a_lora_it_is_said_to_do_nothing(make_job, run):
    events = run(make_job(train__fused_backward_pass=True, train__steps=1, sample__sample_every=None))
    assert [event.message for event in events if event.kind == "warned"] == [
        "train.fused_backward_pass has no effect: the gradients of an adapter are few."
    ]
