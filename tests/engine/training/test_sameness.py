"""A run that goes on says what is not as it was."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image


@pytest.fixture
def data(tmp_path, pictures):
    return shutil.copytree(pictures, tmp_path / "data")


def warned(events):
    return [event.message for event in events if event.kind == "warned" and ("other settings" in event.message or "data has changed" in event.message)]


def test_the_same_job_on_the_same_data_says_nothing_even_with_more_steps(make_job, run, data):
    run(make_job(datasets=[{"path": str(data)}]))
    assert warned(run(make_job(datasets=[{"path": str(data)}], train__steps=6))) == []


def test_other_settings_are_told_by_key_with_what_they_were(make_job, run):
    run(make_job())
    (said,) = warned(run(make_job(train={"steps": 6, "lr": 5e-4, "batch_size": 2, "optimizer": "adamw"})))
    assert "train.lr was 0.001, is 0.0005" in said and "steps" not in said


@pytest.mark.parametrize("what", ["a picture more", "another caption"])
def test_other_data_is_told_and_the_run_goes_on(make_job, run, data, what):
    run(make_job(datasets=[{"path": str(data)}]))
    if what == "a picture more":
        Image.new("RGB", (64, 64), "white").save(data / "new.png")
        (data / "new.txt").write_text("a white field")
    else:
        (data / "0.txt").write_text("something else")
    events = run(make_job(datasets=[{"path": str(data)}], train__steps=6))
    (said,) = warned(events)
    assert ("had 6 pictures, has 7" in said) == (what == "a picture more") and "datasets[0]" in said
    assert events[-1].kind == "finished" and events[-1].step == 6
