"""The verdict on made-up curves, and on a run that learns a few pictures by heart."""

from __future__ import annotations

import math

import pytest

from engine.events import Measured, Step, describe, dump_event, parse_event
from engine.training.verdict import Curves, judge, judged, smoothed

STEPS = range(0, 1001, 100)
CURVES = {
    "learning": lambda t: 1 - 0.3 * t,
    "learned": lambda t: 0.7 + 0.3 * math.exp(-9 * t),
    "overcooked": lambda t: 1 - 0.6 * t + 0.9 * max(0, t - 0.3) ** 1.1,
    "not learning": lambda t: 1 + 0.001 * math.sin(40 * t),
}


@pytest.mark.parametrize("verdict", CURVES)
def test_each_kind_of_curve_has_its_verdict(verdict):
    told = judge({step: 1 - step / 2000 for step in range(1, 1001)}, {step: CURVES[verdict](step / 1000) for step in STEPS})
    assert told is not None and told.verdict == verdict
    assert parse_event(dump_event(told)) == told and describe(told).lower().startswith(verdict)


def test_the_numbers_behind_it_are_those_of_the_curves():
    told = judge({step: 2 - step / 1000 for step in range(1, 1001)}, {step: CURVES["overcooked"](step / 1000) for step in STEPS})
    assert told is not None
    lowest = min(STEPS, key=lambda step: CURVES["overcooked"](step / 1000))
    assert abs(told.best_step - lowest) <= 100 and told.first == 1 and told.best < told.now
    assert told.training_first == pytest.approx(1.9495) and told.training_now == pytest.approx(1.0495)


def test_one_wild_value_changes_no_verdict():
    values = {step: CURVES["learning"](step / 1000) for step in STEPS}
    for step in STEPS[1:]:
        for wild in (0.0, 5.0):
            assert judge({}, values | {step: wild}).verdict == "learning", (step, wild)


def test_a_loss_that_only_rises_is_overcooked():
    assert judge({}, {step: 1 + step / 1000 for step in STEPS}).verdict == "overcooked"


def test_too_few_measurements_say_nothing():
    assert judge({}, {0: 1.0, 1: 0.9, 2: 0.8, 3: 0.7}) is None
    assert judge({}, {0: 1.0, 1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6}) is not None
    assert smoothed([3.0, 1.0]) == [3.0, 1.0]


def test_it_comes_after_each_measurement_and_a_continued_run_knows_what_was_before():
    events = [
        event
        for step in STEPS
        for event in (
            Step(step=step, total=1000, loss=1, lr=1, seconds=1),
            Measured(step=step, name="validation loss", value=CURVES["overcooked"](step / 1000)),
        )
    ]
    whole, curves = list(judged(iter(events), Curves())), Curves()
    list(judged(iter(events[:14]), curves))  # it was killed in step 700 and goes on from 500
    again = list(judged(iter(events[12:]), curves.before(500)))
    strip = [event.model_copy(update={"time": 0}) for event in whole if event.kind == "verdict"]
    assert len(strip) == 7
    assert [event.model_copy(update={"time": 0}) for event in again if event.kind == "verdict"] == strip[-5:]


ROUNDS = range(0, 1001, 125)
PICTURES = {step: 0.6 + step / 4000 for step in ROUNDS}
FALLING = {step: 0.3 - max(0, step - 375) / 10000 for step in ROUNDS}
LEARNING = {step: CURVES["learning"](step / 1000) for step in STEPS}


def test_samples_that_leave_their_prompts_for_the_pictures_are_overcooked_though_the_loss_falls():
    assert judge({}, LEARNING).verdict == "learning"
    said = judge({}, LEARNING, {"CLIP-I": PICTURES, "CLIP-T": FALLING})
    # 0.3 - 0.025 is within a tenth, 0.3 - 0.0375 is not
    assert (said.verdict, said.likeness_step, said.best_step) == ("overcooked", 625, 625)
    assert said.likeness["CLIP-T"] == pytest.approx((0.3, 0.25))
    assert said.likeness["CLIP-I"] == pytest.approx((0.6, 0.81875))  # the last as medians of three
    assert describe(said).startswith(
        "Overcooked: since step 625, samples are more like the pictures and less like their prompts. CLIP-I 0.600, now 0.819. CLIP-T 0.300, now 0.250."
    )
    assert parse_event(dump_event(said)) == said


def test_samples_that_fall_in_both_or_by_little_or_in_one_wild_round_say_nothing():
    steady = dict.fromkeys(ROUNDS, 0.3)
    for pictures, prompts in (
        ({step: 0.9 - step / 4000 for step in ROUNDS}, FALLING),  # broken, and the loss will say so
        (PICTURES, {step: 0.3 - step * 0.029 / 1000 for step in ROUNDS}),
        (PICTURES, steady | {ROUNDS[-2]: 0.1}),
        (PICTURES, steady | {ROUNDS[-1]: 0.1}),
    ):
        said = judge({}, LEARNING, {"CLIP-I": pictures, "CLIP-T": prompts})
        assert said.verdict == "learning" and said.likeness_step is None and said.likeness
    assert not judge({}, LEARNING, {"CLIP-I": PICTURES}).likeness  # there is no CLIP model, or only DINO


def test_it_is_said_again_after_a_round_of_samples_and_a_continued_run_knows_the_rounds_before():
    events = [Measured(step=step, name="validation loss", value=LEARNING[step]) for step in STEPS]
    rounds = [
        Measured(step=step, name=name, value=curve[step]) for step in ROUNDS for name, curve in (("CLIP-I", PICTURES), ("CLIP-T", FALLING))
    ]
    curves = Curves()
    list(judged(iter(events), curves))
    said = [event.verdict for event in judged(iter(rounds), curves) if event.kind == "verdict"]
    assert said == ["learning"] * 7 + ["overcooked"] * 2
    assert curves.before(500).likeness["CLIP-T"] == {step: FALLING[step] for step in ROUNDS if step <= 500}


def test_without_validation_there_is_no_verdict(make_job, run):
    assert not [event for event in run(make_job(train__steps=8)) if event.kind in {"verdict", "measured"}]


def test_a_run_that_takes_far_too_large_steps_is_overcooked(make_job, run, tmp_path):
    job = make_job(
        network={"type": "full"}, train={"steps": 40, "lr": 0.3, "batch_size": 2, "optimizer": "adamw"},
        validation={"every": 5}, sample__sample_every=None, save__save_every=None,
    )  # fmt: skip
    events = run(job)
    told = [event for event in events if event.kind == "verdict"]
    assert told[-1].verdict == "overcooked" and told[-1].now > told[-1].best, events[-1]
    assert [event.step for event in told] == [20, 25, 30, 35, 40]
