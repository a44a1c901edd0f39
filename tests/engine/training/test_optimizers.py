"""Each optimizer of the table: its rule, its state, its rates."""

from __future__ import annotations

import importlib
import json
import math
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from engine.errors import JobError
from engine.jobs import Train, TrainJob
from engine.jobs.train import OptimizerName
from engine.training.optimizer_state import load_optimizer, optimizer_tensors
from engine.training.optimizer_table import OPTIMIZERS, optimizer_notes
from engine.training.optimizers import device_notes, make_optimizer, rate_groups, set_rates, shown

CPU = torch.device("cpu")
NAMES = list(OPTIMIZERS)
RATES = {name: 1.0 if row.finds_rate else {"automagic": 1e-3, "muon": 0.03}.get(name, 0.01) for name, row in OPTIMIZERS.items()}


def parameters() -> list[nn.Parameter]:
    """A matrix, a vector and a kernel."""
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in ((6, 4), (5,), (3, 2, 3, 3))]


def made(name: OptimizerName, params: list[nn.Parameter], **options) -> torch.optim.Optimizer:
    return make_optimizer(name, params, RATES[name], options, CPU)


def distance(params: list[nn.Parameter]) -> Tensor:
    return sum((p - 0.5).square().sum() for p in params)  # type: ignore[return-value]


def descend(params: list[nn.Parameter], optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        distance(params).backward()
        optimizer.step()


def test_every_name_of_the_job_is_in_the_table_and_the_other_way_round():
    assert set(OptimizerName.__args__) == set(OPTIMIZERS)


@pytest.mark.parametrize("name", NAMES)
def test_each_class_is_the_librarys(name):
    module, _, kind = OPTIMIZERS[name].place.partition(":")
    optimizer = made(name, parameters())
    assert type(optimizer) is getattr(importlib.import_module(module), kind)
    if not module.startswith("engine."):
        assert type(optimizer).__module__.split(".")[0] == module.split(".")[0]


def test_the_8_bit_classes_are_what_bitsandbytes_has():
    for place in filter(None, (row.on_cards for row in OPTIMIZERS.values())):
        module, _, kind = place.partition(":")
        assert issubclass(getattr(importlib.import_module(module), kind), torch.optim.Optimizer)


@pytest.mark.parametrize("name", NAMES)
def test_each_one_comes_nearer_to_the_minimum(name):
    params = parameters()
    before = distance(params).item()
    # D-Adapt Lion lets its rate grow by little at each step, and none of these may need more than a moment
    options = {"d0": 0.01} if name == "dadaptlion" else {}
    optimizer = made(name, params, **options)
    descend(params, optimizer, 300)
    with shown(optimizer) if OPTIMIZERS[name].averages else torch.no_grad():
        assert distance(params).item() < before * (0.7 if name in ("adagrad", "automagic") else 0.2)


@pytest.mark.parametrize("name", NAMES)
def test_three_steps_and_three_after_a_break_are_six(name):
    whole = parameters()
    descend(whole, made(name, whole), 6)
    params = parameters()
    first = made(name, params)
    descend(params, first, 3)
    tensors, values = optimizer_tensors(first)
    tensors, values = {key: tensor.clone() for key, tensor in tensors.items()}, json.loads(json.dumps(values))
    later = [nn.Parameter(p.detach().clone()) for p in params]
    second = made(name, later)
    load_optimizer(second, tensors, values)
    descend(later, second, 3)
    assert all(torch.equal(a, b) for a, b in zip(whole, later, strict=True))


@pytest.mark.parametrize("place", [row.on_cards for row in OPTIMIZERS.values() if row.on_cards])
def test_states_of_8_bits_continue_bit_for_bit_too(place):
    module, _, kind = place.partition(":")
    made = getattr(importlib.import_module(module), kind)  # these run on a processor too, only not faster
    torch.manual_seed(0)
    whole = [nn.Parameter(torch.randn(80, 80))]
    halves = [nn.Parameter(whole[0].detach().clone())]
    descend(whole, made(whole, lr=0.01), 6)
    first = made(halves, lr=0.01)
    descend(halves, first, 3)
    tensors, values = optimizer_tensors(first)
    assert tensors["0.state1"].dtype == torch.uint8
    second = made(halves, lr=0.01)
    load_optimizer(second, {key: tensor.clone() for key, tensor in tensors.items()}, json.loads(json.dumps(values)))
    descend(halves, second, 3)
    assert torch.equal(whole[0], halves[0])


def test_what_an_optimizer_learnt_about_its_groups_is_state_and_what_the_job_says_is_not():
    params = parameters()
    optimizer = made("prodigy", params, weight_decay=0.1)
    descend(params, optimizer, 5)
    tensors, values = optimizer_tensors(optimizer)
    assert values["group.0.d"] > 1e-6 and "group.0.d_numerator" in tensors
    assert not {key for key in (*tensors, *values) if key.endswith((".lr", ".weight_decay", ".betas", ".initial_lr"))}
    changed = made("prodigy", parameters(), weight_decay=0.2)
    load_optimizer(changed, tensors, values)
    assert changed.param_groups[0]["weight_decay"] == 0.2 and changed.param_groups[0]["d"] == values["group.0.d"]


def test_a_state_keeps_its_precision_where_weights_have_less():
    weight = nn.Parameter(torch.randn(4, 4).bfloat16())
    optimizer = made("automagic", [weight])
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    again = made("automagic", [weight])
    load_optimizer(again, *optimizer_tensors(optimizer))
    assert {key: value.dtype for key, value in again.state[weight].items()} == {
        "row": torch.float32, "column": torch.float32, "rates": torch.float32, "signs": torch.bool,
    }  # fmt: skip


def test_a_state_of_another_optimizer_or_of_other_groups_is_refused():
    params = parameters()
    optimizer = made("adamw", params)
    descend(params, optimizer, 1)
    state = optimizer_tensors(optimizer)
    with pytest.raises(JobError, match="started with the optimizer AdamW"):
        load_optimizer(made("lion", params), *state)
    groups = [{"name": "a", "params": params[:1], "lr": 0.1}, {"name": "b", "params": params[1:], "lr": 0.2}]
    with pytest.raises(JobError, match="other groups of learning rates"):
        load_optimizer(make_optimizer("adamw", groups, 0.1, {}, CPU), *state)


# ---- the rules, computed once more


def gradients(steps: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, generator=generator) for _ in range(steps)]


def followed(name: OptimizerName, lr: float, **options) -> Tensor:
    weight = nn.Parameter(torch.arange(12.0).reshape(4, 3) / 10)
    optimizer = make_optimizer(name, [weight], lr, options, CPU)
    for gradient in gradients(5):
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach()


def adam(decay: float, decoupled: bool) -> Tensor:
    w, m, v = torch.arange(12.0).reshape(4, 3) / 10, 0.0, 0.0
    for t, g in enumerate(gradients(5), 1):
        g, w = (g, w * (1 - 0.1 * decay)) if decoupled else (g + decay * w, w)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        w = w - 0.1 * (m / (1 - 0.9**t)) / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
    return w


def lion() -> Tensor:
    w, m = torch.arange(12.0).reshape(4, 3) / 10, torch.zeros(4, 3)
    for g in gradients(5):
        w = w * (1 - 0.1 * 0.2) - 0.1 * (0.9 * m + 0.1 * g).sign()
        m = 0.99 * m + 0.01 * g
    return w


def adagrad() -> Tensor:
    w, total = torch.arange(12.0).reshape(4, 3) / 10, 0.0
    for g in gradients(5):
        total = total + g * g
        w = w - 0.1 * g / (total.sqrt() + 1e-10)
    return w


def adafactor() -> Tensor:
    w, row, column = torch.arange(12.0).reshape(4, 3) / 10, torch.zeros(4, 1), torch.zeros(1, 3)
    for t, g in enumerate(gradients(5), 1):
        keep = 1 - t**-0.8
        row = keep * row + (1 - keep) * (g * g + 1e-30).mean(1, keepdim=True)
        column = keep * column + (1 - keep) * (g * g + 1e-30).mean(0, keepdim=True)
        u = g / (row * column / row.mean()).sqrt()
        w = w - 0.1 * u / max(1.0, u.square().mean().sqrt().item())
    return w


def automagic() -> Tensor:
    w, rates, before = torch.arange(12.0).reshape(4, 3) / 10, torch.full((4, 3), 1e-3), None
    row = column = None
    for g in gradients(5):
        squares = g * g
        r, c = squares.mean(1, keepdim=True), squares.mean(0, keepdim=True)
        row = r if row is None else 0.9 * row + 0.1 * r
        column = c if column is None else 0.9 * column + 0.1 * c
        u = g / (row * column / row.mean()).sqrt()
        u = u / max(1.0, u.square().mean().sqrt().item())
        if before is not None:
            for i in range(4):
                for j in range(3):
                    agrees = (u[i, j] > 0) == (before[i, j] > 0)
                    rates[i, j] = min(2e-3, max(5e-4, rates[i, j].item() + (4e-4 if agrees else -4e-4)))
        w, before = w - rates * (u + 0.1 * w), u
    return w


RULES = {
    "adam": (0.1, {"betas": (0.9, 0.99), "weight_decay": 0.1}, lambda: adam(0.1, False)),
    "adamw": (0.1, {"betas": (0.9, 0.99), "weight_decay": 0.1}, lambda: adam(0.1, True)),
    "lion": (0.1, {"weight_decay": 0.2}, lion),
    "adagrad": (0.1, {}, adagrad),
    "adafactor": (0.1, {}, adafactor),
    "automagic": (1e-3, {"beta2": 0.9, "min_lr": 5e-4, "max_lr": 2e-3, "lr_bump": 4e-4, "weight_decay": 0.1}, automagic),
}


@pytest.mark.parametrize("name", RULES)
def test_steps_are_those_of_the_rule(name):
    lr, options, rule = RULES[name]
    torch.testing.assert_close(followed(name, lr, **options), rule(), rtol=1e-5, atol=1e-6)


def test_muon_moves_a_matrix_in_all_directions_alike():
    weight = nn.Parameter(torch.zeros(6, 4))
    optimizer = make_optimizer("muon", [weight], 0.1, {"weight_decay": 0.0}, CPU)
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(6, 4), full_matrices=False)
    weight.grad = left @ torch.diag(torch.tensor([10.0, 5.0, 1.0, 0.5])) @ right
    optimizer.step()
    lengths = torch.linalg.svdvals(weight.detach())
    assert lengths.max() / lengths.min() < 2  # 20 in the gradient


def test_a_schedule_acts_on_the_rates_of_automagic():
    one, two = (nn.Parameter(torch.ones(3, 3)) for _ in range(2))
    for weight, factor in ((one, 1.0), (two, 0.5)):
        optimizer = make_optimizer("automagic", [weight], 1e-3, {}, CPU)
        optimizer.param_groups[0]["lr"] *= factor
        weight.grad = torch.ones(3, 3)
        optimizer.step()
    torch.testing.assert_close((1 - two) * 2, 1 - one)


def test_schedule_free_weights_are_shown_inside_and_the_same_bits_come_back():
    for name in (name for name, row in OPTIMIZERS.items() if row.averages):
        params = parameters()
        optimizer = made(name, params, **({"d0": 0.01} if "prodigy" in name else {}))
        descend(params, optimizer, 20)
        before = [p.detach().clone() for p in params]
        with shown(optimizer):
            assert not torch.equal(params[0], before[0])
        assert all(torch.equal(p, old) for p, old in zip(params, before, strict=True))
        descend(params, optimizer, 1)  # it is in training again


# ---- rates


def names() -> dict[str, nn.Parameter]:
    paths = [f"{part}.layer.{end}.weight" for part in ("text_encoder", "transformer") for end in ("lora_A", "lora_B")]
    return {path: nn.Parameter(torch.zeros(1)) for path in paths}


def rates(**keys) -> dict[str, float]:
    named = names()
    groups = rate_groups(Train(lr=1e-4, **keys), named, ["text_encoder", "text_encoder_2"])
    assert sum(len(group["params"]) for group in groups) == len(named)
    return {path: group["lr"] for group in groups for path, one in named.items() if any(one is p for p in group["params"])}


def test_each_part_learns_at_its_own_rate_and_the_denoiser_comes_first():
    assert set(rates().values()) == {1e-4}
    assert rates(text_encoder_lr=1e-5) == {path: 1e-5 if path.startswith("text") else 1e-4 for path in names()}
    assert rates(unet_lr=3e-4, text_encoder_lr=1e-5) == {path: 1e-5 if path.startswith("text") else 3e-4 for path in names()}
    assert rates(unet_lr=3e-4) == {path: 1e-4 if path.startswith("text") else 3e-4 for path in names()}
    first = rate_groups(Train(lr=1e-4, text_encoder_lr=1e-5, loraplus_lr_ratio=4), names(), ["text_encoder"])[0]
    assert first["lr"] == 1e-4 and first["name"] == "denoiser"


def test_the_second_matrices_learn_faster_with_loraplus():
    assert rates(loraplus_lr_ratio=16) == pytest.approx({path: 16e-4 if "lora_B" in path else 1e-4 for path in names()})


def test_rates_can_be_changed_at_work_whatever_the_optimizer_made_of_its_groups():
    for name, expected in (("adamw", {3e-4}), ("muon", {3e-4, 0.001}), ("prodigy", {1.0})):
        for rounded in (False, True) if name == "muon" else (False,):
            settings = Train(optimizer=name, lr=1e-4)
            named = {f"transformer.{index}": weight for index, weight in enumerate(parameters())}
            options = {"adamw_lr": 0.001} if name == "muon" else {}
            optimizer = make_optimizer(name, rate_groups(settings, named, []), 1e-4, options, CPU, rounded)
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
            set_rates(optimizer, name, rate_groups(settings.model_copy(update={"lr": 3e-4}), named, []))
            assert {group["lr"] for group in optimizer.param_groups} == expected


def test_groups_are_the_same_whatever_the_numbers_are():
    both = [Train(lr=lr, text_encoder_lr=1e-5) for lr in (1e-4, 1e-5)]
    assert len({tuple(group["name"] for group in rate_groups(one, names(), ["text_encoder"])) for one in both}) == 1


def test_an_optimizer_that_finds_one_rate_for_all_refuses_several():
    with pytest.raises(JobError, match="finds one rate for all weights"):
        rates(optimizer="prodigy", loraplus_lr_ratio=16)


@pytest.mark.parametrize("name", [name for name, row in OPTIMIZERS.items() if row.finds_rate])
def test_a_rate_that_is_meant_for_other_optimizers_becomes_one(name):
    for lr, expected in ((1e-4, 1.0), (0.5, 0.5)):
        assert make_optimizer(name, parameters(), lr, {}, CPU).param_groups[0]["lr"] == expected


# ---- what is said


def told(network: str = "lora", **train) -> str:
    job = TrainJob(
        name="x", model={"name_or_path": "m"}, network={"type": network}, datasets=[{"path": "d"}], train={"optimizer": "adamw", **train}
    )
    return " ".join(f"{note.message} {note.hint}" for note in chain(optimizer_notes(job), device_notes(job, CPU)))


@pytest.mark.parametrize(
    "train, words",
    [
        ({}, ""),
        ({"optimizer": "adamw8bit"}, "adamw, with states of 32 bits, is used"),
        ({"optimizer": "prodigy8bit", "lr": 1}, "no Prodigy with 8 bits"),
        ({"optimizer": "prodigy"}, "1 is taken instead of 0.0001"),
        ({"optimizer": "schedule-free", "lr_scheduler": "cosine"}, "does without a schedule"),
        ({"lr_warmup_steps": 2000}, "never gets to its height"),
        ({"lr_scheduler": "constant_with_warmup"}, "is constant"),
        ({"text_encoder_lr": 1e-5}, "text_encoder_lr has no effect"),
        ({"network": "lokr", "loraplus_lr_ratio": 16}, "no effect on a lokr"),
        ({"network": "full", "loraplus_lr_ratio": 16}, "no effect on a full"),
    ],
)
def test_what_has_no_effect_is_said(train, words):
    assert (words in told(**train)) if words else not told(**train)


def test_an_average_of_an_average_is_refused():
    with pytest.raises(JobError, match="averages the weights by itself"):
        told(optimizer="schedule-free", ema_config={"use_ema": True})


@pytest.mark.parametrize(
    "written, name",
    [
        ("AdamW", "adamw"),
        ("prodigy_schedule_free", "prodigy-schedule-free"),
        ("ScheduleFree", "schedule-free"),
        ("adamw8", "adamw8bit"),
        ("dadaptation", "dadaptadam"),
    ],
)
def test_other_spellings_of_a_name_are_read(written, name):
    assert Train(optimizer=written).optimizer == name


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_an_optimizer_does_not_have_is_an_error_with_the_nearest(name):
    near = "beta2" if name in ("automagic", "prodigy-schedule-free") else "weight_decay"
    with pytest.raises(JobError, match=rf"optimizer_params\.{near}x is not an option of {name}") as caught:
        made(name, parameters(), **{f"{near}x": 0.5})
    assert f"Did you mean {near}?" in caught.value.hint


def test_a_value_that_an_option_cannot_have_is_an_error():
    with pytest.raises(JobError, match="do not suit lion"):
        made("lion", parameters(), betas=(2.0, 3.0))
    with pytest.raises(JobError, match="not within min_lr"):
        make_optimizer("automagic", parameters(), math.e, {}, CPU)


@pytest.mark.parametrize("name", NAMES)
def test_the_memory_that_a_plan_counts_is_what_an_optimizer_takes(name):
    weight = nn.Parameter(torch.randn(200, 100))
    optimizer = made(name, [weight])
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    taken = sum(tensor.nbytes for tensor in optimizer_tensors(optimizer)[0].values()) / weight.numel()
    assert taken == pytest.approx(OPTIMIZERS[name].state_bytes, rel=0.05, abs=0.1)
