"""Train, once it runs: progress, film strip, loss and log of one run, and what can be asked of it. All of it is read from the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from engine.control import Request
from engine.errors import JobError
from engine.events import Changed, Failed
from engine.families.catalog import base_of
from engine.jobs import Adapter, Job, TrainJob
from engine.jobs.tools.captions import CaptionJob
from engine.jobs.tools.edits import EditCaptionsJob
from engine.queue import RunRecord

from .. import album, chart, chores, form, mending, pieces, watch
from ..headline import headline
from ..pieces import Piece
from ..studio import Studio
from ..watch import History
from ..wiring import Updates, on, warned
from . import changing, going_on

NETWORKS = {"lora": "LoRA", "lokr": "LoKr", "loha": "LoHa", "dora": "DoRA", "oft": "OFT", "full": "all weights", "none": "no network"}
"""network.type → what people call it."""
GO_ON = "Go on"
"""What the button for a pause says while the run rests."""
YES = "Go on with it"
"""What it says while the run waits for an answer."""


@dataclass
class RunView:
    """What the shell needs of a run's page."""

    view: gr.Column
    film: gr.HTML
    again: gr.Button
    pick_best: gr.Button
    write_all: gr.Button
    proceed: gr.Button
    card: gr.HTML
    going_on: going_on.GoingOn
    outputs: list[Any]
    watch: Callable[[RunRecord, Any], tuple[Updates, Any]]
    """Updates that show the run, and the key to give next time: what has not changed since is not sent again."""


def build(studio: Studio, shown: gr.State) -> RunView:
    """``shown`` holds the name of the run that this tab of the browser shows."""
    runner = studio.runner
    with gr.Column(elem_classes="page", visible=False) as page:
        with gr.Row(elem_classes="title-row"):
            title = Piece("", elem_id="run-title")
            wide: dict[str, Any] = {"size": "md", "min_width": 110, "visible": False}
            pause = gr.Button("Pause", elem_id="pause", **wide)
            sample_now = gr.Button("Sample now", **wide)
            save_now = gr.Button("Save now", **wide)
            stop = gr.Button("Stop", elem_id="stop", **wide)
            leave = gr.Button("Leave the line", **wide)
            again = gr.Button("New LoRA", size="md", min_width=110)
            proceed = gr.Button("Continue", elem_id="continue", variant="primary", **wide)
            take_back = gr.Button("Undo", elem_id="take-back", **wide)
            write_all = gr.Button("Caption them all", elem_id="write-all", variant="primary", **wide)
            pick_best = gr.Button("Pick the best", elem_id="pick-best", variant="primary", **wide)
        card = Piece("", elem_classes="card", elem_id="headline")
        film = Piece("", elem_id="film", js_on_load=pieces.FOLLOW)
        settings = changing.build(studio, shown)
        further = going_on.build(studio)
        with gr.Accordion("Loss, for the curious", open=False, elem_id="loss") as loss:
            curves = Piece("", elem_id="curves")
        with gr.Accordion("Log", open=False, elem_id="log"):
            log = Piece("", js_on_load=pieces.NEWEST)

    buttons = [pause, sample_now, save_now, stop, leave, proceed, take_back, write_all, pick_best]
    outputs = [page, title, card, film, loss, curves, log, *buttons, *settings.outputs, *further.outputs]

    def show(record: RunRecord, seen: Any) -> tuple[Updates, Any]:
        job = studio.job(record)
        if job is None:
            words = pieces.notes([("look", f"The job of {record.name} cannot be read: its config.yaml is missing or damaged", "", "")])
            return {title: pieces.heading(record.name), card: words, film: "", log: ""}, None
        before = _ahead(record)
        with studio.history(record) as history:
            is_training = isinstance(job, TrainJob)
            if is_training:
                job = watch.as_changed(job, history)
                told = headline(history, job, record.status, before, _saved(record, history) if history.verdict else ())
            else:
                told = chores.headline(history, job, record.status, before)
            key = (
                record.name,
                record.status,
                history.drawn,
                len(history.frames),
                len(history.captioned),
                50 * history.step // max(1, history.total),
                len(history.validation),
                len(history.changed),
                history.paused,
                history.asked is not None,
                isinstance(history.end, Failed),
            )
            asks = record.status == "running" and history.asked is not None
            doors = (record.name, record.status, asks)
            updates: Updates = {card: pieces.progress(told)}
            lines = (record.name, len(history.lines), history.lines[-1] if history.lines else "")
            if seen is None or seen[1] != lines:
                updates[log] = pieces.log(history.lines)
            if seen is None or seen[0] != key:
                updates |= _pictures(record, job, history) if is_training else _captions(job, history)
                updates |= _doors(record, job, bool(history.frames), history.paused, asks)
                updates[title] = pieces.heading(record.name, _facts(job))
            if seen is None or seen[2] != doors:
                updates |= settings.close(is_training and record.status == "running" and not asks) | further.show(record, job, history)
        return updates, (key, lines, doors)

    def _pictures(record: RunRecord, job: Job, history: History) -> Updates:
        live = record.status == "running"
        strip = watch.strip(job, history, record.folder)
        columns = [(step, "base" if step == 0 else f"{step:,}") for step in strip.columns]
        empty = pieces.nothing("No samples", "This run was started without sample prompts.") if not strip.prompts else ""
        return {
            loss: gr.update(visible=True),
            film: empty or pieces.frames("strip", columns, strip.prompts, strip.pictures, strip.ready, live=live),
            curves: chart.losses(
                *watch.smoothed(history.losses),
                history.validation,
                [(event.step, _said(event)) for event in history.changed],
                history.total,
                history.verdict.best_step if history.verdict else None,
            ),
        }

    def _captions(job: Job, history: History) -> Updates:
        return {film: pieces.wordings(chores.captions(studio.library, job, history)), loss: gr.update(visible=False)}

    def _ahead(record: RunRecord) -> str:
        """The run that this one waits for; none where it is its own turn, or has just come."""
        active = studio.active() if record.status == "queued" else None
        if active is None or active.name == record.name:
            return ""
        with studio.history(active) as history:
            return f"{active.name}, which waits for your answer," if history.asked else active.name

    def _doors(record: RunRecord, job: Job, has_frames: bool, rests: bool, asks: bool) -> Updates:
        """Which buttons there are; each keeps its place while a run is on."""
        going, waits = record.status == "running", record.status == "queued"
        over = record.status in {"stopped", "interrupted", "failed"}
        visible = {
            pause: going and (isinstance(job, TrainJob) or asks),
            sample_now: going and isinstance(job, TrainJob) and not asks,
            save_now: going and isinstance(job, TrainJob) and not asks,
            write_all: record.status == "completed" and chores.is_preview(job),
            stop: going,
            leave: waits,
            proceed: over,
            take_back: not going and not waits and _set_to_undo(record, job) is not None,
            pick_best: record.status == "completed" and has_frames,
        }
        waits_too = {sample_now, save_now} if rests else set()
        doors = {button: gr.update(visible=yes, interactive=button not in waits_too) for button, yes in visible.items()}
        doors[pause] |= {"value": YES if asks else GO_ON if rests else "Pause", "variant": "primary" if asks else "secondary"}
        again = "Try again" if record.status == "failed" else "Continue"
        return doors | {proceed: gr.update(value=again, visible=over)}

    def ask(request: Request, words: str) -> Callable[[str], Updates]:
        def send(name: str) -> Updates:
            with warned():
                runner.ask(name, request)
                gr.Info(words, title="Noted", duration=4)
            pressed = {"stop": stop, "pause": pause, "go": pause}.get(request)
            return {pressed: gr.update(interactive=False)} if pressed else {}

        return send

    def _set_to_undo(record: RunRecord, job: Job | None) -> str | None:
        """The data set in which the run made the newest change; None where there is nothing of it to take back."""
        name = studio.library.name_of(job.path) if isinstance(job, CaptionJob | EditCaptionsJob) else None
        return name if name and mending.is_last(studio.library, name, record.folder) else None

    def undo(name: str) -> Updates:
        record = runner.get(name)
        dataset = _set_to_undo(record, studio.job(record)) if record else None
        with warned("It was not taken back"):
            if dataset is None:
                raise JobError("There is nothing of this run to take back any more.", "What came later goes first: look at the data set.")
            album.refuse_if_used(studio, dataset)
            for kind, words, _, _ in mending.taken_back(studio.library, dataset):
                (gr.Info if kind == "ok" else gr.Warning)(escape(words), title="Undo", duration=8)
        return {take_back: gr.update(visible=record is not None and _set_to_undo(record, studio.job(record)) is not None)}

    def rest(name: str, said: str) -> Updates:
        """What the button said is done, even if another tab of the browser was quicker: nothing is turned round."""
        record = runner.get(name)
        if record is None:
            return {}
        with studio.history(record) as history:
            is_so = history.paused == (said not in (GO_ON, YES))
        if is_so:
            return {}
        return (
            ask("go", "It goes on.")(name)
            if said in (GO_ON, YES)
            else ask("pause", "It rests at the end of this step, and keeps its place.")(name)
        )

    def end(name: str) -> Updates:
        record = runner.get(name)
        if record is None:
            return {}
        with studio.history(record) as history:
            words = "It stops. What is saved is as it was." if history.asked else "It stops and saves at the end of this step."
        return ask("stop", words)(name)

    on(pause.click, rest, [shown, pause], buttons)
    on(sample_now.click, ask("sample", "Samples are made at the end of this step."), shown, buttons)
    on(save_now.click, ask("save", "It is saved at the end of this step."), shown, buttons)
    on(stop.click, end, shown, buttons)
    on(take_back.click, undo, shown, take_back)
    on(leave.click, ask("stop", "It has left the line."), shown, buttons)
    return RunView(page, film, again, pick_best, write_all, proceed, card, further, outputs, show)


def _facts(job: Job) -> str:
    if not isinstance(job, TrainJob):
        return job.title
    base = base_of(job.model.name_or_path)
    kind = NETWORKS[job.network.type]
    if isinstance(job.network, Adapter) and not getattr(job.network, "lokr_full_rank", False):
        kind += f", rank {job.network.rank}"
    where = job.datasets[0].path.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    more = f" and {len(job.datasets) - 1} more" if len(job.datasets) > 1 else ""
    return f"{base.title if base else job.model.name_or_path} · {where}{more} · {kind}"


def _saved(record: RunRecord, history: History) -> list[int]:
    """Steps of the checkpoints that are still there."""
    return [step for step, path in history.saved.items() if (record.folder / path).exists()]


def _said(event: Changed) -> str:
    """A change in a few words."""
    before, now = ("none" if value is None else f"{value:,}" if isinstance(value, int) else value for value in (event.before, event.value))
    words = f" {before} → {now}" if not isinstance(event.value, list) else ""
    return f"step {event.step:,}: {form.label(event.key).lower()}{words}"
