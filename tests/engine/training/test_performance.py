"""Where a step's time goes: an event and a row, right numbers, and the same bytes with and without."""

from __future__ import annotations

import time

import pytest
import torch

from engine.data.chance import number
from engine.events import describe
from engine.runs.metrics import read_metrics
from engine.runtime import speed
from engine.training import performance


@pytest.fixture(autouse=True)
def a_known_device(monkeypatch):
    """It does 10^9 operations a second."""
    monkeypatch.setattr(speed, "_measured", lambda device, dtype: 1e9)


def performances(events):
    return [event for event in events if event.kind == "performance"]


SETTINGS = {
    "train": {"steps": 8, "lr": 1e-3, "batch_size": 2, "gradient_accumulation": 2, "optimizer": "adamw"},
    "sample__sample_every": 4,
    "save__save_every": 4,
}


def test_each_measured_step_tells_what_its_time_went_into(make_job, run, tmp_path):
    events = run(make_job(**SETTINGS, logging={"performance_log_every": 2}))
    told = performances(events)
    assert len(told) >= 2 and all(2 <= event.step <= 8 for event in told)
    for event in told:
        assert {"waiting", "forward", "backward", "optimizer"} <= event.phases.keys() and event.reserved is None and event.memory > 2**20
        inside = sum(event.phases[name] for name in ("waiting", "forward", "backward", "optimizer"))
        assert 0.5 * event.seconds < inside <= event.seconds * 1.001
        assert event.pictures_per_second == pytest.approx(4 / event.seconds)
        assert event.share == pytest.approx(event.tflops * 1e12 / 1e9) and event.tflops > 0
        assert "pictures/s" in describe(event) and "of the device's peak" in describe(event)
    rows = {int(row["step"]): row for row in read_metrics(tmp_path / "out" / "tiny" / "metrics.csv") if row["pictures_per_second"]}
    assert {event.step: event.pictures_per_second for event in told} == {
        step: float(row["pictures_per_second"]) for step, row in rows.items()
    }
    assert all(float(rows[event.step]["backward"]) == event.phases["backward"] for event in told)


def test_samples_and_checkpoints_are_timed_beside_the_steps(make_job, run, monkeypatch):
    from engine.training import wishes

    inner = wishes.draw
    monkeypatch.setattr(wishes, "draw", lambda *args: time.sleep(0.3) or inner(*args))
    settings = SETTINGS | {"train": SETTINGS["train"] | {"steps": 12}}
    told = performances(run(make_job(**settings, logging={"performance_log_every": 1})))
    after = next(event for event in told if event.step > 4)
    assert after.phases["sampling"] >= 0.3 and after.phases["saving"] > 0
    assert "sampling" not in next(event for event in told if event.step > after.step).phases


@pytest.mark.parametrize("quantized", [{}, {"quantize": True, "quantize_te": False, "qtype": "qint8"}])
def test_a_run_ends_in_the_same_bytes_whether_it_is_measured_or_not(make_job, run, base, tmp_path, quantized):
    settings = SETTINGS | {"model": {"name_or_path": str(base), **quantized}, "sample__sample_every": None}
    run(make_job(**settings), "plain")
    assert performances(run(make_job(**settings, logging={"performance_log_every": 1}), "measured"))
    files = [(tmp_path / root / "tiny" / "tiny.safetensors").read_bytes() for root in ("plain", "measured")]
    assert files[0] == files[1]


def test_the_operations_of_a_step_are_those_of_its_products(make_job, monkeypatch, tmp_path):
    """A network of one product: twice its size forward, twice that backward."""
    from types import SimpleNamespace

    weight = torch.nn.Parameter(torch.ones(16, 32))
    data = SimpleNamespace(is_reg=False, prior_reg=False)
    placed = [SimpleNamespace(bucket=(64, 64), alike=())] * 3
    loader = SimpleNamespace(placed=placed, batches=SimpleNamespace(at=lambda micro: [0, 1, 2]), data_set=lambda micro: data)
    bench = SimpleNamespace(
        device=torch.device("cpu"), dtype=torch.float32, loader=loader, family=SimpleNamespace(stages=(1,)), job=make_job(),
    )  # fmt: skip
    clock = performance.Clock(bench, 1)
    for step in (1, 2):
        with clock.step(step, [step]), clock.micro(step), clock.phase("forward"):
            told = torch.ones(3, 16, requires_grad=True) @ weight
            told.sum().backward()
            time.sleep(0.01)
    (event,) = clock.take()
    assert event.step == 2  # the first was counted
    assert event.tflops * 1e12 * event.seconds == pytest.approx(3 * 2 * 3 * 16 * 32)
    assert event.pictures_per_second == pytest.approx(3 / event.seconds) and event.phases["forward"] >= 0.01


def test_without_the_key_nothing_is_measured(make_job, run, monkeypatch):
    monkeypatch.setattr(performance, "Clock", None)
    events = run(make_job(sample__sample_every=None))
    assert events[-1].kind == "finished" and not performances(events)


def test_the_peak_is_measured_once_for_a_device_and_a_precision(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(speed, "_measured", lambda device, dtype: asked.append(dtype) or 5e9)
    cpu = torch.device("cpu")
    for dtype in (torch.float32, torch.bfloat16, torch.float32):
        assert speed.peak_speed(cpu, dtype, tmp_path) == 5e9
    assert asked == [torch.float32, torch.bfloat16]
    (tmp_path / speed.FILE).write_text("[broken")
    assert speed.peak_speed(cpu, torch.float32, tmp_path) == 5e9 and len(asked) == 3


def test_where_there_is_little_room_a_smaller_product_is_measured(monkeypatch):
    monkeypatch.undo()
    asked = []

    def product(side, device, dtype):
        asked.append(side)
        if side > 2000:
            raise torch.OutOfMemoryError("full")
        return 7e9

    monkeypatch.setattr(speed, "_product", product)
    assert speed._measured(torch.device("meta"), torch.float32) == 7e9 and asked == [8192, 4096, 2048, 1024]


def test_the_peak_is_that_of_a_product_and_draws_nothing(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(speed, "SIDE", {"cpu": 128})
    torch.manual_seed(number("peak"))
    before = torch.get_rng_state()
    found = speed._measured(torch.device("cpu"), torch.float32)
    assert torch.equal(torch.get_rng_state(), before)
    product = torch.ones(128, 128)
    product @ product
    begun = time.perf_counter()
    for _ in range(20):
        product @ product
    rough = 20 * 2 * 128**3 / (time.perf_counter() - begun)
    assert rough / 30 < found < rough * 30
