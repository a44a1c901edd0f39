"""What can be asked of a run from its page: other settings while it is on, more steps when it has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

from engine.control import Control
from engine.errors import JobError
from engine.events import Changed, Event, Finished, Step
from engine.jobs import Job, TrainJob
from engine.jobs.changing import CHANGEABLE
from engine.queue import Runner
from engine.runs.folder import RunFolder
from ui import drafts, form
from ui.studio import Studio
from ui.tabs import changing, going_on
from ui.tabs.changing import changes_of
from ui.watch import History


def training(steps: int = 100) -> TrainJob:
    data = {
        "name": "run",
        "model": {"name_or_path": "m"},
        "datasets": [{"path": "p"}],
        "train": {"steps": steps},
        "sample": {"prompts": ["a", "b"]},
    }
    return TrainJob.model_validate(data)


def changed(job: TrainJob, **values: object) -> dict:
    draft = drafts.short(job)
    for key, value in values.items():
        form.put(draft, key.replace("__", "."), value)
    return draft


def test_only_what_may_be_changed_is_offered() -> None:
    assert set(changing.FIELDS) <= set(CHANGEABLE)


def test_only_what_is_other_now_is_asked_for() -> None:
    job = training()
    assert changes_of(job, drafts.short(job), 40) == ({}, {})
    assert changes_of(job, changed(job, train__lr=1e-3, sample__prompts=["a", "c"]), 40) == (
        {"train.lr": 1e-3, "sample.prompts": ["a", "c"]},
        {},
    )
    assert changes_of(job, changed(job, save__save_every=None), 40) == ({"save.save_every": None}, {})


def test_prompts_with_settings_of_their_own_are_offered_to_a_run_that_has_such(tmp_path: Path) -> None:
    plain = training()
    special = TrainJob.model_validate(
        drafts.short(plain) | {"name": "run-2", "sample": {"samples": [{"prompt": "a fox", "seed": 7}, {"prompt": "a wolf"}]}}
    )
    studio = Studio(Runner(tmp_path / "runs", tmp_path / "db"))
    with gr.Blocks() as page:
        shown = gr.State(None)
        changing.build(studio, shown)
    [fill] = [fn.fn for fn in page.fns.values() if fn.targets[0][1] == "expand"]
    field, send = (
        next(one for one in page.blocks.values() if getattr(one, "elem_id", "") == name) for name in ("change-samples", "change-it")
    )
    assert not send.interactive, "before it has been told what the settings are"
    for job, is_there, text in ((plain, False, ""), (special, True, "- prompt: a fox\n  seed: 7\n- prompt: a wolf")):
        updates = fill(studio.runner.submit(job))
        update = updates[field]
        assert updates[send]["interactive"]
        assert (update["visible"], update["value"]) == (is_there, text)
    wanted, problems = changes_of(special, changed(special, sample__samples=[{"prompt": "a fox", "seed": 8}]), 40)
    assert problems == {} and [one["seed"] for one in wanted["sample.samples"]] == [8]
    wanted, problems = changes_of(special, changed(special, sample__samples=[{"prompt": "a fox", "size": 8}]), 40)
    assert wanted == {} and next(iter(problems)).startswith("sample.samples")


def test_a_wrong_value_is_told_at_its_field_and_nothing_is_asked_for() -> None:
    job = training()
    wanted, problems = changes_of(job, changed(job, train__lr=7), 40)
    assert wanted == {} and list(problems) == ["train.lr"] and "at most 1" in problems["train.lr"]
    wanted, problems = changes_of(job, changed(job, train__steps=30), 40)
    assert wanted == {} and "the 40 that are done" in problems["train.steps"]
    assert changes_of(job, changed(job, train__steps="many"), 40)[1].keys() == {"train.steps"}


def going(steps: list[int]) -> Iterator[Event]:
    for step in steps:
        yield Step(step=step, total=100, loss=1.0, lr=1e-4, seconds=1.0)
    yield Finished(step=steps[-1], reason="stopped")


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    def execute(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        yield from going([10, 20])

    studio = Studio(Runner(tmp_path / "runs", tmp_path / "db", execute))
    list(studio.runner.run(training()))
    return studio


def weights(studio: Studio, *steps: int) -> None:
    for step in steps:
        RunFolder(studio.runner.root / "run").checkpoint_path(step).touch()


def test_a_run_that_has_ended_offers_the_steps_that_it_can_go_on_from(studio: Studio) -> None:
    with gr.Blocks():
        page = going_on.build(studio)
    box, step, more, go, _ = page.outputs
    record = studio.runner.get("run")
    assert page.show(record, training(), History())[box]["visible"] is False  # nothing is saved
    weights(studio, 10, 20)
    shown = page.show(record, training(), History())
    assert [value for _, value in shown[step]["choices"]] == [20, 10] and shown[step]["value"] == 20
    assert "its weights alone" in shown[step]["choices"][0][0]
    assert shown[more]["value"] == "80" and shown[box]["visible"]  # what is left of its 100
    assert page.show(record, training(20), History())[more]["value"] == "10"
    longer = History(changed=[Changed(step=20, key="train.steps", before=100, value=500)])
    assert page.show(record, training(), longer)[more]["value"] == "480"


def test_more_steps_put_it_back_into_the_line(studio: Studio) -> None:
    with gr.Blocks():
        page = going_on.build(studio)
    weights(studio, 10, 20)
    assert page.start("run", 10, "30")
    assert studio.runner.get("run").status == "queued"
    with studio.history(studio.runner.get("run")) as history:
        assert history.step == 10 and history.total == 40


@pytest.mark.parametrize("text", ["", "nine", "-3", "0", "1.5", "99999999999"])
def test_what_is_no_number_of_steps_is_told(text: str) -> None:
    with pytest.raises(JobError, match="no number of steps"):
        going_on.whole(text)
    assert going_on.whole(" 1,500 ") == 1500
