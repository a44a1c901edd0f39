"""Datasets, all of a data set at once: its tables, its name, its zip, its end, and what can be taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .. import album, mending, pieces, showing
from ..exporting import download, export_set
from ..pieces import Piece, Words
from ..studio import Studio
from ..wiring import Updates, on, warned


@dataclass
class ThisSet:
    """What the page of the data sets needs of it."""

    new_name: gr.Textbox
    rename: gr.Button
    remove: gr.Button
    past: gr.HTML
    outputs: list[Any]
    show: Callable[[str], Updates]


def build(studio: Studio, editing: gr.Textbox) -> ThisSet:
    """``editing`` holds the key of the picture that is shown, whose data set it is about."""
    library = studio.library
    with gr.Accordion("In numbers", open=False, elem_id="in-numbers") as numbers:
        tables = Piece("", elem_id="tables")
    with gr.Accordion("This data set", open=False, elem_id="this-set"):
        with gr.Row(elem_classes="title-row bottom"):
            new_name = Words(label="Name", min_width=220, max_length=80)
            rename = gr.Button("Rename", size="md", scale=0, min_width=110)
            pack = gr.Button("Export as zip", size="md", scale=0, min_width=130, elem_id="export-set")
            remove = gr.Button("Delete this data set", size="md", scale=0, min_width=180)
        past = Piece("", elem_id="undo-steps")
        zipped = gr.DownloadButton("", elem_id="set-file", elem_classes="out-of-sight")

    def show(name: str) -> Updates:
        steps = mending.steps(library, name)
        return {new_name: name, past: pieces.notes(steps) if steps else "", numbers: gr.update(open=False), tables: ""}

    def count_all(key: str) -> Updates:
        with warned():
            return {tables: showing.tables(library, album.name_of(studio, key), showing.base_now(studio.memory))}
        return {}

    def export(key: str) -> str | None:
        with warned():
            return str(export_set(studio, album.name_of(studio, key)))
        return None

    on(numbers.expand, count_all, editing, [tables], show_progress="minimal", show_progress_on=[tables])
    on(pack.click, export, editing, zipped, show_progress="minimal", show_progress_on=[pack]).success(
        None, zipped, None, js=download("set-file")
    )
    return ThisSet(new_name, rename, remove, past, [new_name, past, numbers, tables], show)
