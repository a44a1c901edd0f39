"""Train, while it runs: settings that may be changed from the next step on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from engine.errors import JobError
from engine.jobs import TrainJob
from engine.jobs.changing import value_of, with_values

from .. import drafts, form
from ..studio import Studio
from ..watch import as_changed
from ..wiring import Updates, on

NUMBERS: dict[str, dict[str, Any]] = {
    "train.lr": {"elem_id": "change-lr", "min_width": 150, "info": "From the next step on."},
    "train.steps": {"elem_id": "change-steps", "min_width": 150, "info": "In all, with those that are done."},
    "sample.sample_every": {"min_width": 150, "info": "Empty: no more samples."},
    "save.save_every": {"min_width": 150, "info": "Empty: only at the end."},
}
PROMPTS: dict[str, dict[str, Any]] = {
    "sample.prompts": {"label": "Sample prompts", "info": "One a line. The film strip goes on with these.", "lines": 3, "elem_id": "change-prompts"},
}
FIELDS = NUMBERS | PROMPTS
"""What is offered, and what each field says other than usual."""


@dataclass
class Changing:
    """What the run's page needs of it."""

    box: gr.Accordion
    outputs: list[Any]
    close: Callable[[bool], Updates]
    """Updates that close it, and show it or not."""


def build(studio: Studio, shown: gr.State) -> Changing:
    with gr.Accordion("Change while it runs", open=False, visible=False, elem_id="change") as box:
        with gr.Row(elem_classes="fields"):
            numbers = form.pick(TrainJob, NUMBERS)
        answers = form.Form(fields=[*numbers.fields, *form.pick(TrainJob, PROMPTS).fields])
        with gr.Row(elem_classes="actions"):
            send = gr.Button("Change", size="md", scale=0, min_width=110, elem_id="change-it")
    wrong = gr.State({})

    def now(name: str) -> tuple[TrainJob, int]:
        """The job as it is by now, and the steps that are done."""
        record = studio.runner.get(name) if name else None
        job = studio.job(record) if record else None
        if record is None or not isinstance(job, TrainJob):
            raise JobError("There is no training here that could be changed.", "Open one that runs.")
        with studio.history(record) as history:
            job, step = as_changed(job, history), history.step
        assert isinstance(job, TrainJob)
        return job, step

    def fill(name: str) -> Updates:
        try:
            job, _ = now(name)
        except JobError:
            return {}
        return answers.show(drafts.short(job), {}) | {wrong: {}}

    def change(values: dict[Any, Any]) -> Updates:
        try:
            job, step = now(values[shown])
            draft = drafts.short(job)
            wanted, problems = changes_of(job, answers.read(values, draft), step)
            if not problems and wanted:
                studio.runner.change(values[shown], wanted)
                gr.Info("From the next step on. The log says when.", title="Noted", duration=4)
        except (JobError, OSError) as error:
            gr.Warning(escape(str(error)), title="It was not changed")
            return {}
        if not problems and not wanted:
            gr.Info("It is as it was.", title="Nothing to change", duration=4)
        return answers.mark(problems, values[wrong], draft) | {wrong: problems}

    on(box.expand, fill, shown, [*answers.widgets, wrong])
    on(send.click, change, {shown, wrong, *answers.widgets}, [*answers.widgets, wrong])
    return Changing(box, [box], lambda visible: {box: gr.update(open=False, visible=visible)})


def changes_of(job: TrainJob, draft: form.Draft, step: int) -> tuple[dict[str, Any], dict[str, str]]:
    """What the draft has other than the job, by key, and no problems; or nothing, and a sentence for each wrong key."""
    now, problems = drafts.settled(draft)
    if now is None:
        return {}, problems
    wanted = {key: value_of(now, key) for key in FIELDS if value_of(now, key) != value_of(job, key)}
    try:
        with_values(job, wanted, step)
    except JobError as error:
        return {}, {"train.steps" if "train.steps" in wanted else next(iter(wanted)): str(error)}
    return wanted, {}
