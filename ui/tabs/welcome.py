"""Datasets, the first screen: the drop zone, the example, and what became of a drop of nothing usable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from .. import pieces
from ..pieces import Note, Piece
from ..wiring import Updates

UPLOADS = ["image", ".mp4", ".mov", ".mkv", ".webm", ".txt", ".zip"]


@dataclass
class Welcome:
    """What the page of the data sets needs of it."""

    view: gr.Column
    drop: gr.File
    example: gr.Button
    back: gr.Button
    refused: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        return [self.view, self.drop, self.back, self.refused]

    def shown(self, back: bool = False, notes: list[Note] | None = None) -> Updates:
        """Updates that show it, empty; ``back`` where there is something to go back to, ``notes`` for what was refused."""
        return {
            self.view: gr.update(visible=True),
            self.back: gr.update(visible=back),
            self.drop: None,
            self.refused: gr.update(value=pieces.notes(notes), visible=True) if notes else gr.update(visible=False),
        }

    def hidden(self) -> Updates:
        return {self.view: gr.update(visible=False), self.drop: None}


def build() -> Welcome:
    with gr.Column(elem_classes="page narrow") as view:
        Piece(pieces.WELCOME)
        drop = gr.File(file_count="multiple", file_types=UPLOADS, label="Your pictures", show_label=False, height=260, elem_id="drop")
        with gr.Row(elem_classes="centre"):
            example = gr.Button("Try it with the example", variant="primary", scale=0, min_width=220, elem_id="example")
            back = gr.Button("Back", scale=0, min_width=110, visible=False)
        refused = Piece("", visible=False, elem_classes="card")
        Piece(pieces.WELCOME_STEPS)
    return Welcome(view, drop, example, back, refused)
