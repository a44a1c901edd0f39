"""What can be asked of a run while it is on, and that a run that was cut off does the same again."""

from __future__ import annotations

import threading
import time

import pytest

from engine.control import Control, word_of
from engine.errors import JobError
from engine.events import Changed, WentBack, dump_event, parse_event
from engine.jobs.changing import with_values
from engine.runs.changes import Changes

NAMES = ("tiny.safetensors", "state/000000006/optimizer.safetensors")


def change_at(step, values):
    def watch(event, control):
        if event.kind == "step" and event.step == step:
            control.change(values)

    return watch


def of(events, kind):
    return [event for event in events if event.kind == kind]


def test_another_rate_and_length_hold_from_the_next_step_on(make_job, run):
    job = make_job(train__steps=4, train__lr_scheduler="linear")
    events = run(job, watch=change_at(2, {"train.lr": 5e-3, "train.steps": 6}))
    steps = of(events, "step")
    assert [event.step for event in steps] == [1, 2, 3, 4, 5, 6] and [event.total for event in steps] == [4, 4, 6, 6, 6, 6]
    assert [event.lr for event in steps] == pytest.approx([1e-3 * 3 / 4, 1e-3 * 2 / 4, *(5e-3 * left / 6 for left in (3, 2, 1, 0))])
    assert [(event.step, event.key, event.before, event.value) for event in of(events, "changed")] == [
        (2, "train.lr", 1e-3, 5e-3),
        (2, "train.steps", 4, 6),
    ]
    assert events[-1].reason == "completed" and events[-1].step == 6


@pytest.mark.parametrize("stop_at", [2, 3, 5])
def test_stopped_and_continued_keeps_what_was_changed_and_ends_in_the_same_bytes(make_job, run, tmp_path, stop_at):
    job = make_job(train={"steps": 8, "lr": 1e-3, "batch_size": 2, "optimizer": "adamw", "lr_scheduler": "cosine"}, save__save_every=2)
    change = change_at(3, {"train.lr": 4e-3, "train.steps": 6})
    run(job, "whole", change)

    def stop(event, control):
        change(event, control)
        control.stop = event.kind == "step" and event.step == stop_at

    run(job, "halves", stop)
    run(job, "halves", change)
    for name in NAMES:
        assert (tmp_path / "whole" / "tiny" / name).read_bytes() == (tmp_path / "halves" / "tiny" / name).read_bytes(), name


def test_a_run_that_was_cut_off_makes_the_changes_of_its_log_again_after_their_steps(make_job, run, tmp_path):
    """The state is of step 2, the change came after step 3, and was told; then the process died."""
    job = make_job(train={"steps": 6, "lr": 1e-3, "batch_size": 2, "optimizer": "adamw"}, save__save_every=2)
    change = change_at(3, {"train.lr": 4e-3})
    run(job, "whole", change)

    class Killed(Exception):
        pass

    def kill(event, control):
        change(event, control)
        if event.kind == "changed":
            raise Killed

    with pytest.raises(Killed):
        run(job, "cut", kill)
    events = run(job, "cut")
    assert [event.step for event in of(events, "step")] == [3, 4, 5, 6] and not of(events, "changed")
    for name in NAMES:
        assert (tmp_path / "whole" / "tiny" / name).read_bytes() == (tmp_path / "cut" / "tiny" / name).read_bytes(), name


def test_what_cannot_be_changed_is_said_and_changes_nothing(make_job, run):
    events = run(make_job(), watch=change_at(1, {"network.rank": 8, "train.steps": 1, "train.lr": "fast"}))
    said = [event.message for event in of(events, "warned") if event.message.startswith("Not changed")]
    assert len(said) == 3 and "network.rank" in said[0] and "not more than" in said[1] and not of(events, "changed")
    with pytest.raises(JobError, match=r"train\.lr"):
        with_values(make_job(), {"train.lr": -1})


def test_a_job_that_was_changed_by_hand_since_stays_as_it_is(make_job):
    log = [Changed(step=3, key="train.steps", before=4, value=9)]
    made = [{"step": 3, "key": "train.steps", "before": 4, "value": 9}]
    assert Changes(make_job(), made, [], 5).job.train.steps == 9
    assert Changes(make_job(train__steps=20), made, [], 5).job.train.steps == 20
    assert parse_event(dump_event(log[0])) == log[0]


def test_what_came_after_a_step_that_the_run_went_back_to_is_not_made_again(make_job):
    log = [
        Changed(step=3, key="train.lr", before=1e-3, value=2e-3),
        Changed(step=7, key="train.lr", before=2e-3, value=5e-3),
        WentBack(step=5),
    ]
    changes = Changes(make_job(), [], log, 2)
    assert list(changes.take(3, [])) == [] and changes.job.train.lr == 2e-3
    assert list(changes.take(9, [])) == [] and changes.job.train.lr == 2e-3


def test_a_pause_waits_between_two_steps_and_changes_no_byte(make_job, run, tmp_path):
    run(make_job(train__steps=6, save__save_every=6), "plain")
    waited = []

    def pause(event, control):
        if event.kind == "step" and event.step == 2:
            control.ask("pause")
            waited.append(time.monotonic())
            threading.Timer(0.5, control.ask, ("go",)).start()
        if event.kind == "step" and event.step == 3:
            waited.append(time.monotonic())

    events = run(make_job(train__steps=6, save__save_every=6), "paused", pause)
    names = [event.name for event in of(events, "phase")][-2:]
    assert names == ["Paused after step 2", "Training, continued after step 2"] and waited[1] - waited[0] >= 0.5
    for name in NAMES:
        assert (tmp_path / "plain" / "tiny" / name).read_bytes() == (tmp_path / "paused" / "tiny" / name).read_bytes(), name


def test_a_stop_ends_a_pause_and_saves(make_job, run):
    def pause(event, control):
        if event.kind == "step" and event.step == 2:
            control.ask("pause")
            threading.Timer(0.3, control.ask, ("stop",)).start()

    events = run(make_job(), watch=pause)
    assert events[-1].reason == "stopped" and of(events, "saved")[-1].step == events[-1].step


def test_requests_of_another_process_are_heard_as_they_were_asked():
    control = Control()
    for word in ("pause", "save", word_of({"train.lr": 1e-4}), "of a newer program", "go", word_of({"sample.sample_every": None}), "pause"):
        control.hear(word)
    assert control.paused and control.save and not control.stop
    assert control.changes == [{"train.lr": 1e-4}, {"sample.sample_every": None}]
    assert " " not in word_of({"sample.prompts": ["a b", "c:d"]})
