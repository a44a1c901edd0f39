"""Train, while it runs: settings that may be changed from the next step on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.errors import JobError
from engine.jobs import TrainJob
from engine.jobs.changing import value_of, with_values

from .. import drafts, form
from ..studio import Studio
from ..watch import as_changed
from ..wiring import Updates, on, warned

NUMBERS: dict[str, dict[str, Any]] = {
    "train.lr": {"elem_id": "change-lr", "min_width": 150, "info": "From the next step on."},
    "train.steps": {"elem_id": "change-steps", "min_width": 150, "info": "In all, with those that are done."},
    "sample.sample_every": {"min_width": 150, "info": "Empty: no more samples."},
    "save.save_every": {"min_width": 150, "info": "Empty: only at the end."},
}
PROMPTS: dict[str, dict[str, Any]] = {
    "sample.prompts": {
        "label": "Sample prompts",
        "info": "One a line. The film strip goes on with these.",
        "lines": 3,
        "elem_id": "change-prompts",
    },
}
SAMPLES: dict[str, dict[str, Any]] = {
    "sample.samples": {
        "label": "Prompts with settings of their own", "info": "YAML: a dash and prompt: for each, with its settings below.", "lines": 5,
        "elem_id": "change-samples", "visible": False,
    },
}  # fmt: skip
FIELDS = NUMBERS | PROMPTS | SAMPLES
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
            numbers = form.pick(TrainJob, {path: {"value": "", **words} for path, words in NUMBERS.items()})
        prompts, samples = form.pick(TrainJob, PROMPTS), form.pick(TrainJob, SAMPLES)
        answers = form.Form(fields=[*numbers.fields, *prompts.fields, *samples.fields])
        with gr.Row(elem_classes="actions"):
            # not before the fields say how it is now: else a default would be asked for
            send = gr.Button("Change", size="md", scale=0, min_width=110, interactive=False, elem_id="change-it")
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
        updates = answers.show(drafts.short(job), {}) | {wrong: {}}
        [special] = samples.widgets  # only for a run that has such
        return updates | {send: gr.update(interactive=True), special: updates[special] | gr.update(visible=bool(job.sample.samples))}

    def change(values: dict[Any, Any]) -> Updates:
        with warned("It was not changed"):
            job, step = now(values[shown])
            draft = drafts.short(job)
            wanted, problems = changes_of(job, answers.read(values, draft), step)
            if wanted:
                studio.runner.change(values[shown], wanted)
                gr.Info("From the next step on. The log says when.", title="Noted", duration=4)
            elif not problems:
                gr.Info("It is as it was.", title="Nothing to change", duration=4)
            return answers.mark(problems, values[wrong], draft) | {wrong: problems}
        return {}

    on(box.expand, fill, shown, [*answers.widgets, send, wrong])
    on(send.click, change, {shown, wrong, *answers.widgets}, [*answers.widgets, wrong])
    return Changing(box, [box, send], lambda visible: {box: gr.update(open=False, visible=visible), send: gr.update(interactive=False)})


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
