"""Sample: contact sheet, comparison with the base, playground. The three share the run that is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..studio import Studio
from ..wiring import Updates, on
from . import compare, playground, sheet


@dataclass
class Sample:
    """What the shell needs of this tab."""

    looks: gr.Tabs
    table: gr.HTML
    outputs: list[Any]
    open: Callable[[str | None], Updates]
    """Updates that show a run on the contact sheet; without a name the one that was open last."""
    look_at: Callable[[str, int, int | None], Updates]
    """(run, row, step) → updates that open Compare there."""


def build(studio: Studio) -> Sample:
    with gr.Tabs(elem_classes="sub") as looks:
        with gr.Tab("Contact sheet", id="sheet"):
            contact = sheet.build(studio)
        with gr.Tab("Compare", id="compare") as compare_tab:
            pair = compare.build(studio)
        with gr.Tab("Playground", id="playground") as play_tab:
            play = playground.build(studio)
    seen = gr.State(None)
    both = [*contact.outputs, *pair.outputs]

    def open_run(name: str | None) -> Updates:
        updates = contact.show(name)
        return updates | pair.show(studio.memory.get("sheet"))

    def look_at(name: str, row: int, step: int | None) -> Updates:
        return contact.show(name) | pair.show(name, row, step or None) | {looks: gr.Tabs(selected="compare")}

    def press(name: str, event: gr.EventData) -> Updates:
        if event.act == "open":
            return look_at(name, int(event.row), int(event.step))
        if event.act == "use":
            return contact.mark(name, int(event.step)) | pair.show(name, None, int(event.step))
        return {}

    def use(name: str, row: int, step: int) -> Updates:
        return contact.mark(name, step) | pair.show(name, row, step)

    def fresh(name: str | None, last: Any) -> Updates:
        """Once a second: only what a running job has added is sent."""
        now = contact.key(name)
        return {} if last == now else {seen: now} | (contact.show(name) if last is not None else {})

    on(contact.table.click, press, contact.picker, [*both, looks])
    on(contact.picker.input, lambda name: pair.show(name), contact.picker, pair.outputs)
    on(pair.prompt.input, pair.show, [contact.picker, pair.prompt, pair.checkpoint], pair.outputs)
    on(pair.checkpoint.input, pair.show, [contact.picker, pair.prompt, pair.checkpoint], pair.outputs)
    on(pair.use.click, use, [contact.picker, pair.prompt, pair.checkpoint], both)
    on(compare_tab.select, pair.show, [contact.picker, pair.prompt, pair.checkpoint], pair.outputs)
    on(play_tab.select, play.open, play.inputs, play.outputs)
    on(gr.Timer(2.0).tick, fresh, [contact.picker, seen], [*contact.outputs, seen])
    return Sample(looks, contact.table, [*both, looks], open_run, look_at)
