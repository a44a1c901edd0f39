"""What is found where a run is to go on with other settings or other data than it was saved with."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from engine.data.scan import Item
from engine.jobs import load_job
from engine.training.sameness import data_summary, difference, summary

ITEM = Item(Path("a.png"), 64, 64, "a cat")
SLIDER = {"target_class": "a car", "positive_prompt": "a red car"}


def job_of(**more):
    return load_job({"name": "cats", "model": {"name_or_path": "base"}, "datasets": [{"path": "pictures/cats"}], **more})


def told(items=(ITEM,), **more):
    """As a state keeps it."""
    job = job_of(**more)
    return json.loads(json.dumps(summary(job, data_summary(job, items))))


def asked(then, items=(ITEM,), **more):
    return difference(4, then, told(items, **more), job_of(**more))


def test_an_erased_copy_more_is_other_data_and_states_of_before_there_were_any_still_fit():
    old = [1, sha256(b"('a.png', 64, 64, 'a cat', False, False, 1, 0, False)").hexdigest()]
    assert data_summary(job_of(), [ITEM])[0][:2] == old
    assert asked(told() | {"data": [old]}) is None
    assert asked(told(), [replace(ITEM, erased=Path("b.png"))]).data == [("cats", 1, 1)]
    assert asked(told(), [ITEM, replace(ITEM, path=Path("b.png"))]).data == [("cats", 1, 2)]


@pytest.mark.parametrize("which", ["path", "controls", "mask", "erased"])
def test_a_picture_that_was_painted_over_is_other_data_and_one_that_the_program_made_is_not(tmp_path, home, which):
    def item(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        return replace(ITEM, **{which: (file,) if which == "controls" else file})

    mine, made = item(tmp_path / "mine.png"), item(home / "cache" / "made.png")
    for some in (mine, made):
        file = some.controls[0] if which == "controls" else getattr(some, which)
        file.write_bytes(b"one")
        before = told([some])
        file.write_bytes(b"another")
        assert bool(asked(before, [some])) == (some is mine or which == "path")


def test_another_slider_is_told_unless_the_state_is_from_before_that_was_kept():
    assert asked(told(slider=SLIDER), slider={**SLIDER, "positive_prompt": "a blue car"}).settings == {
        "slider.positive_prompt": ("a red car", "a blue car")
    }
    old = told(slider=SLIDER)
    old["settings"] = {key: value for key, value in old["settings"].items() if not key.startswith("slider")}
    assert asked(old, slider=SLIDER) is None
    assert asked(told(), replacements=[{"concept": "cat", "replacement": "dog"}]).settings["replacements[0].concept"] == (None, "cat")


def test_a_setting_that_there_was_not_yet_is_no_difference_until_somebody_asks_for_it():
    old = told()
    for key in ("train.max_grad_norm", "datasets[0].random_crop"):
        del old["settings"][key]
    assert asked(old) is None
    assert asked(old, train={"max_grad_norm": 3.0}).settings == {"train.max_grad_norm": (None, 3.0)}


def test_another_model_is_a_difference_and_how_it_is_held_and_more_steps_are_none():
    model = {"name_or_path": "base"}
    assert asked(told(), model={**model, "layer_offloading": True, "inference_lora_path": "fast"}, train={"steps": 7}) is None
    assert asked(told(), model={**model, "lora_path": "style"}).settings == {"model.lora_path": (None, "style")}


def test_a_question_is_the_same_only_for_the_same_step_and_the_same_change():
    other = {"train": {"lr": 5e-4}}
    one, same = asked(told(), **other), asked(told(), **other)
    again = difference(8, told(), told(**other), job_of(**other))
    assert one.about == same.about and len({one.about, again.about, asked(told(), train={"lr": 6e-4}).about}) == 3
