"""Train, when it has ended: so many steps more, from its end or from an earlier step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.errors import JobError
from engine.jobs import TrainJob
from engine.queue import RunRecord

from ..pieces import Choice, Words
from ..studio import Studio
from ..watch import History, as_changed
from ..wiring import Updates, on, warned

ENDED = frozenset({"completed", "stopped", "interrupted", "failed"})
FROM = "What came after that step is put aside in the run's folder, not deleted."


@dataclass
class GoingOn:
    """What the run's page needs of it."""

    go: gr.Button
    inputs: list[Any]
    outputs: list[Any]
    show: Callable[[RunRecord, Any, History], Updates]
    """Updates that offer the steps of a run; nothing is offered while it runs, and where nothing is saved."""
    start: Callable[[str, int | None, str], bool]
    """(run, step, steps more) → whether it goes on. Its arguments are ``inputs`` behind the run's name."""


def build(studio: Studio) -> GoingOn:
    with (
        gr.Accordion("Train more, or go back", open=False, visible=False, elem_id="go-on") as box,
        gr.Row(elem_classes="title-row bottom going-on"),
    ):
        step = Choice([], label="From", info=FROM, elem_id="go-on-from", min_width=220)
        more = Words(label="Steps more", info="Counted from there.", elem_id="go-on-steps", min_width=150)
        go = gr.Button("Train more", size="md", scale=0, min_width=150, elem_id="go-on-now")
    last = gr.State(0)

    def show(record: RunRecord, job: Any, history: History) -> Updates:
        points = studio.runner.points(record.name) if record.status in ENDED and isinstance(job, TrainJob) else []
        if not points:
            return {box: gr.update(visible=False, open=False)}
        end = points[-1].step
        choices = [(f"step {one.step:,}{'' if one.exact else ' · its weights alone'}", one.step) for one in reversed(points)]
        total = as_changed(job, history).train.steps  # type: ignore[attr-defined]
        return {
            box: gr.update(visible=True, open=False),
            step: gr.update(choices=choices, value=end),
            more: gr.update(value=str(_proposed(end, total))),
            go: gr.update(value="Train more"),
            last: end,
        }

    def choose(wanted: int | None, end: int) -> str:
        return "Train more" if wanted in (None, end) else f"Go back to step {wanted:,}"

    def start(name: str, wanted: int | None, steps: str) -> bool:
        with warned("It does not go on"):
            studio.runner.more(name, whole(steps), wanted)
            return True
        return False

    on(step.input, choose, [step, last], go)
    return GoingOn(go, [step, more], [box, step, more, go, last], show, start)


def whole(text: str) -> int:
    """A number of steps as a person types it. JobError for anything else."""
    plain = text.strip().replace(",", "").replace(" ", "")
    if not plain.isdecimal() or not 0 < int(plain) <= 10_000_000:
        raise JobError(f"{text!r} is no number of steps.", "Write a whole number, such as 500.")
    return int(plain)


def _proposed(done: int, total: int) -> int:
    """What is left to its end; at its end, a quarter as much again."""
    return total - done if total > done else max(10, round(total / 40) * 10)
