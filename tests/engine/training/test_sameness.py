"""What is said where a run goes on with other settings or other data than it was saved with."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from engine.data.scan import Item
from engine.jobs import load_job
from engine.training.sameness import data_summary, differences, summary

ITEM = Item(Path("a.png"), 64, 64, "a cat")
SLIDER = {"target_class": "a car", "positive_prompt": "a red car"}


def told(**more):
    job = load_job({"name": "cats", "model": {"name_or_path": "base"}, "datasets": [{"path": "cats"}], **more})
    return summary(job, data_summary(job, [ITEM]))


def test_an_erased_copy_more_is_other_data_and_states_of_before_there_were_any_still_fit():
    job = load_job({"name": "cats", "model": {"name_or_path": "base"}, "datasets": [{"path": "cats"}]})
    assert data_summary(job, [ITEM]) == [[1, sha256(b"('a.png', 64, 64, 'a cat', False, False, 1, 0, False)").hexdigest()]]
    then, now = told(), told()
    now["data"] = data_summary(job, [replace(ITEM, erased=Path("b.png"))])
    (warned,) = differences(then, now)
    assert "datasets[0] has other pictures" in warned.message


def test_another_slider_is_told_unless_the_state_is_from_before_that_was_kept():
    (warned,) = differences(told(slider=SLIDER), told(slider={**SLIDER, "positive_prompt": "a blue car"}))
    assert "slider.positive_prompt was 'a red car', is 'a blue car'" in warned.message
    old = told(slider=SLIDER)
    old["settings"] = {key: value for key, value in old["settings"].items() if not key.startswith("slider")}
    assert not list(differences(old, told(slider=SLIDER)))
    (warned,) = differences(told(), told(replacements=[{"concept": "cat", "replacement": "dog"}]))
    assert "replacements[0].concept was None, is 'cat'" in warned.message
