"""Other sample prompts in the middle of a run: read by text encoders that were let go long before."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from engine.runs.changes import current_job
from engine.runs.folder import RunFolder
from engine.runs.points import lengthen

NAMES = ("tiny.safetensors", "state/000000006/optimizer.safetensors")


def drawn(events):
    return [(event.step, event.prompt) for event in events if event.kind == "sampled"]


def ask(step, values):
    def watch(event, control):
        if event.kind == "step" and event.step == step:
            control.change(values)

    return watch


@pytest.fixture
def job(make_job):
    return make_job(
        train__steps=6,
        sample={
            "sample_every": 2,
            "prompts": ["[trigger] at dawn"],
            "skip_first_sample": True,
            "sample_steps": 1,
            "width": 32,
            "height": 32,
        },
    )


def test_other_prompts_are_drawn_from_the_next_round_on_and_change_no_weight(job, run, tmp_path):
    run(job, "plain")
    events = run(
        job, "asked", ask(3, {"sample.prompts": ["a [trigger] at night", "a boat"], "sample.samples": [{"prompt": "a tree", "seed": 7}]})
    )
    assert drawn(events) == [(2, "zzz at dawn"), *((step, prompt) for step in (4, 6) for prompt in ("a zzz at night", "a boat", "a tree"))]
    assert "Reading new prompts after step 3" in [event.name for event in events if event.kind == "phase"]
    assert current_job(RunFolder(tmp_path / "asked" / "tiny")).sample.prompts == ["a [trigger] at night", "a boat"]
    for name in NAMES:
        assert (tmp_path / "plain" / "tiny" / name).read_bytes() == (tmp_path / "asked" / "tiny" / name).read_bytes(), name


def test_a_run_that_goes_on_has_the_prompts_that_it_was_given_even_without_the_cache(job, run, tmp_path, home):
    run(job, "whole", ask(3, {"sample.prompts": ["a boat"]}))

    class Killed(Exception):
        pass

    def kill(event, control):
        ask(3, {"sample.prompts": ["a boat"]})(event, control)
        if event.kind == "step" and event.step == 5:
            raise Killed

    with pytest.raises(Killed):
        run(job, "cut", kill)
    shutil.rmtree(home / "cache")
    assert drawn(run(job, "cut")) == [(6, "a boat")]
    for name in NAMES:
        assert (tmp_path / "whole" / "tiny" / name).read_bytes() == (tmp_path / "cut" / "tiny" / name).read_bytes(), name
    samples = [sorted(path.name for path in (tmp_path / root / "tiny" / "samples").iterdir()) for root in ("whole", "cut")]
    assert samples[0] == samples[1]


def test_prompts_that_cannot_be_drawn_leave_the_old_ones(job, run):
    events = run(job, watch=ask(1, {"sample.prompts": "no list", "sample.samples": [{"promt": "x"}]}))
    assert len([event for event in events if event.kind == "warned" and event.message.startswith("Not changed")]) == 2
    assert {prompt for _, prompt in drawn(events)} == {"zzz at dawn"}


def test_a_run_without_a_rhythm_of_samples_draws_when_it_is_asked(make_job, run):
    def watch(event, control):
        control.sample = control.sample or (event.kind == "step" and event.step == 2)

    events = run(make_job(sample={"sample_every": None, "prompts": ["a boat"], "sample_steps": 1, "width": 32, "height": 32}), watch=watch)
    assert drawn(events) == [(2, "a boat")]
    events = run(make_job(sample={"sample_every": None}), "none", watch)
    assert drawn(events) == [] and any("nothing to draw" in event.message for event in events if event.kind == "warned")


def test_rounds_begin_where_they_are_told_and_again_where_a_run_goes_on(job, make_job, run, tmp_path):
    sample = {**job.sample.model_dump(), "sample_start_step": 3}
    later = make_job(train__steps=4, sample=sample)
    assert [step for step, _ in drawn(run(later))] == [4]
    lengthen(RunFolder(tmp_path / "out" / "tiny"), 1)
    again = make_job(train__steps=4, sample={**sample, "skip_first_sample": False, "force_first_sample": True})
    assert [step for step, _ in drawn(run(again))] == [4, 5]


def test_before_the_first_step_other_prompts_can_be_drawn_and_change_no_weight(make_job, run, tmp_path):
    first = {"prompts": ["a red sea", "[trigger] by night", "an owl"], "sample_steps": 1, "width": 32, "height": 48}
    events = run(make_job(first_sample=first), "other")
    shown = [(event.step, event.prompt) for event in events if event.kind == "sampled"]
    assert shown[:3] == [(0, "a red sea"), (0, "zzz by night"), (0, "an owl")] and shown[3:] == [(2, "zzz at dawn"), (4, "zzz at dawn")]
    assert Image.open(tmp_path / "other" / "tiny" / next(event.path for event in events if event.kind == "sampled")).size == (32, 48)
    run(make_job(), "plain")
    assert (tmp_path / "other/tiny/tiny.safetensors").read_bytes() == (tmp_path / "plain/tiny/tiny.safetensors").read_bytes()
    assert not [
        event
        for event in run(make_job(first_sample=first, sample__skip_first_sample=True), "none")
        if event.kind == "sampled" and event.step == 0
    ]
