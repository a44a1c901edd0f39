"""Sample, Contact sheet: checkpoints against prompts; mark one, take it away, draw more prompts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.errors import JobError

from .. import pieces
from ..exporting import FORMS, download, export
from ..pieces import Choice, Options, Piece, Words
from ..sheet import drawings, more_prompts, progress, sheet
from ..studio import Studio
from ..wiring import Updates, on, warned

COLUMNS = 12
"""Columns on the page at most; the marked one is always among them."""


@dataclass
class ContactSheet:
    """What the rest of the Sample tab needs of the contact sheet."""

    picker: gr.Dropdown
    table: gr.HTML
    told: gr.HTML
    halt: gr.Button
    outputs: list[Any]
    show: Callable[[str | None], Updates]
    """Updates that show a run; without a name, the newest one that has samples."""
    key: Callable[[str | None], Any]
    """Changes when there is something new to show."""
    follow: Callable[[str | None], AsyncIterator[Updates]]
    """Follows a drawing of this run that goes on, until it ends."""
    mark: Callable[[str, int], Updates]
    """Makes a checkpoint the one in use."""


def build(studio: Studio) -> ContactSheet:
    runner = studio.runner
    with gr.Row(elem_classes="title-row"):
        verdict = Piece("", elem_id="verdict")
        picker = Choice(run_names(studio), label="Run", show_label=False, scale=0, min_width=180, elem_id="sheet-run")
        form = Options(
            FORMS,
            value="comfyui",
            label="Export for",
            show_label=False,
            container=False,
            elem_classes="segments",
            scale=0,
            min_width=210,
            visible=False,
            elem_id="export-form",
        )
        take = gr.Button("Export", variant="primary", size="md", scale=0, min_width=110, visible=False, elem_id="export")
        file = gr.DownloadButton("", elem_id="export-file", elem_classes="out-of-sight")
    table = Piece("", elem_id="sheet")
    with gr.Accordion("More prompts", open=False, elem_id="more-prompts", visible=False) as more:
        with gr.Row(elem_classes="split"):
            prompts = Words(
                label="Prompts", lines=3, scale=3, min_width=260, elem_id="new-prompts",
                info="One a line. Each becomes a row, drawn with the base model and the ticked checkpoints.",
            )  # fmt: skip
            ticked = gr.CheckboxGroup([], label="Checkpoints", interactive=True, scale=2, min_width=220)
        with gr.Row(elem_classes="actions"):
            draw = gr.Button("Draw", size="md", scale=0, min_width=110, elem_id="draw-more")
            halt = gr.Button("Stop drawing", size="md", scale=0, min_width=130, visible=False)
        told = Piece("")
    outputs = [verdict, picker, form, take, table, more, ticked, told, halt]

    def show(name: str | None) -> Updates:
        names = run_names(studio)
        name = name if name in names else studio.memory.get("sheet")
        name = name if name in names else names[0] if names else None
        record = runner.get(name) if name else None
        updates: Updates = {picker: gr.update(choices=names, value=name, visible=bool(names))}
        if record is None:
            words = pieces.nothing(
                "No samples yet",
                "Train a LoRA: its checkpoints develop here, one column each.",
                ("Go to Train", "train"),
            )
            return updates | {
                verdict: "",
                table: words,
                form: gr.update(visible=False),
                take: gr.update(visible=False),
                more: gr.update(visible=False),
            }
        studio.memory.put(sheet=name)
        now, chosen = sheet(studio, record), studio.chosen(record)
        steps = _columns([step for step in now.steps if step], chosen, now.best)
        if not steps:
            words = pieces.heading(record.name, "It has no samples of a checkpoint yet.")
        elif chosen is not None:
            words = pieces.heading(f"Step {chosen:,} it is", f"Marked in {record.name}. Export writes it for another program.")
        else:
            measured = f"By what was measured, step {now.best:,} is the one. " if now.best in steps else ""
            words = pieces.heading(
                "Which one is it?", f"{measured}Compare the columns; click a picture to see it large beside the base model's."
            )
        saved = [(f"step {one.step:,}", one.step) for one in studio.checkpoints(record) if one.step]
        values = [value for _, value in saved]
        columns, rows = [(step, f"{step:,}") for step in steps], [now.row(row, steps) for row in range(len(now.prompts))]
        nothing = pieces.nothing("Nothing to compare yet", "A column comes with the next samples, or with prompts that are drawn below.")
        return updates | {
            verdict: words,
            table: pieces.frames("sheet", columns, now.prompts, rows, len(steps), chosen, now.pickable, best=now.best)
            if steps
            else nothing,
            form: gr.update(visible=chosen is not None),
            take: gr.update(visible=chosen is not None),
            more: gr.update(visible=bool(saved)),
            ticked: gr.update(choices=saved, value=_spread(values, chosen)),
        }

    def key(name: str | None) -> Any:
        record = runner.get(name) if name else None
        if record is None:
            return name, len(run_names(studio))
        with studio.history(record) as history:
            return name, history.drawn, len(history.saved), record.status

    def mark(name: str, step: int) -> Updates:
        with warned():
            record = runner.get(name)
            if record is None:
                raise JobError(f"There is no run named {name}.", "Pick another one.")
            studio.choose(record, step)
        return show(name)

    def write(name: str, wanted: Any) -> Any:
        record = runner.get(name)
        step = studio.chosen(record) if record else None
        with warned("It was not exported"):
            if record is None or step is None:
                raise JobError("No checkpoint is marked.", "Press Use this one above a column.")
            return str(export(studio, studio.choose(record, step).path, wanted, record.name))
        return None

    async def ask(name: str, text: str, steps: list[int]) -> AsyncIterator[Updates]:
        with warned("Nothing was drawn"):
            record = runner.get(name)
            if record is None:
                raise JobError("There is no such run.", "Pick another one.")
            runner.submit(more_prompts(studio, record, [line.strip() for line in text.splitlines() if line.strip()], steps))
        async for updates in follow(name):  # the one that goes on, if this one does not
            yield updates

    async def follow(name: str | None) -> AsyncIterator[Updates]:
        """A closed tab ends this, never the drawing."""
        seen = -1
        while name and (record := runner.get(name)):
            newest = max(drawings(studio, record), key=lambda one: one.added, default=None)
            if newest is None:
                return
            going, words, pictures = progress(studio, newest.name)
            if not going and seen < 0:
                return  # it had ended before anyone asked
            state = pieces.notes([("todo" if going else "look", words, "", "")]) if words else ""
            yield {told: state, halt: gr.update(visible=going)} | (show(name) if len(pictures) != seen else {})
            seen = len(pictures)
            if not going:
                return
            await asyncio.sleep(0.5)

    def stop(name: str) -> None:
        record = runner.get(name)
        for one in drawings(studio, record) if record else []:
            if one.status in {"queued", "running"}:
                runner.ask(one.name, "stop")

    on(picker.input, show, picker, outputs).then(follow, picker, outputs)
    on(draw.click, ask, [picker, prompts, ticked], outputs)
    on(halt.click, stop, picker, None)
    on(take.click, write, [picker, form], file).success(None, file, None, js=download("export-file"))
    return ContactSheet(picker, table, told, halt, outputs, show, key, follow, mark)


def run_names(studio: Studio) -> list[str]:
    """Runs that have something to show, the newest first."""
    return [record.name for record in studio.trainings() if record.kind == "train" and any((record.folder / "samples").glob("*_*"))]


def _columns(steps: list[int], *wanted: int | None) -> list[int]:
    """At most so many columns that they can be seen: spread over the run, the last one and the wanted ones among them."""
    if len(steps) <= COLUMNS:
        return steps
    return sorted({*_evenly(steps, COLUMNS - len(wanted)), *(step for step in wanted if step in steps)})


def _spread(steps: list[int], chosen: int | None) -> list[int]:
    return sorted({*_evenly(steps, 3), *([chosen] if chosen in steps else [])})


def _evenly(values: list[int], count: int) -> list[int]:
    if len(values) <= count:
        return values
    return [values[round(place * (len(values) - 1) / (count - 1))] for place in range(count)]
