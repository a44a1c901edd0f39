"""Sample, Compare: one prompt, with the base model and with a checkpoint, under a slider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .. import pieces
from ..pieces import Choice, Piece
from ..sheet import sheet
from ..studio import Studio
from ..wiring import Updates


@dataclass
class Compare:
    prompt: gr.Dropdown
    checkpoint: gr.Dropdown
    use: gr.Button
    outputs: list[Any]
    show: Callable[..., Updates]
    """(run, row, step) → updates; what is left out stays, or is the first prompt and the marked or newest step."""


def build(studio: Studio) -> Compare:
    with gr.Row(elem_classes="split"):
        with gr.Column(scale=3, min_width=300, elem_classes="card form"):
            title = Piece("")
            prompt = Choice([], label="Prompt", elem_id="compare-prompt")
            checkpoint = Choice([], label="Checkpoint", elem_id="compare-step")
            use = gr.Button("Use this one", variant="primary", size="md", elem_id="use-this")
        with gr.Column(scale=7, min_width=320):
            slider = gr.ImageSlider(
                None, show_label=False, height=620, max_height=620, buttons=["fullscreen"], elem_id="compare", interactive=False, visible=False,
            )  # fmt: skip
            empty = Piece(
                pieces.nothing(
                    "Nothing to compare yet",
                    "The first samples of a run appear here beside the base model's.",
                )
            )
    outputs = [title, prompt, checkpoint, use, slider, empty]

    def show(name: str | None, row: int | None = None, step: int | None = None) -> Updates:
        record = studio.runner.get(name) if name else None
        now = sheet(studio, record) if record else None
        if record is None or now is None or not any(now.steps_of(index) for index in range(len(now.prompts))):
            return {
                slider: gr.update(visible=False),
                empty: gr.update(visible=True),
                use: gr.update(interactive=False),
                title: "",
            }
        rows = [index for index in range(len(now.prompts)) if now.steps_of(index)]
        row = row if row in rows else rows[0]
        steps = now.steps_of(row)
        step = next((one for one in (step, studio.chosen(record)) if one in steps), steps[-1]) or steps[-1]
        base, picture = now.cells.get((row, 0)), now.cells[row, step]
        chosen = studio.chosen(record) == step
        missing = pieces.nothing("No picture of the base model", "This run skipped the samples before its first step.")
        return {
            title: pieces.heading(record.name, "Without the LoRA on the left, with it on the right."),
            prompt: gr.update(choices=[(now.prompts[index] or f"prompt {index + 1}", index) for index in rows], value=row),
            checkpoint: gr.update(choices=[(f"step {one:,}", one) for one in steps], value=step),
            use: gr.update(value="In use" if chosen else "Use this one", interactive=not chosen and step in now.pickable),
            slider: gr.update(value=(str(base), str(picture)) if base else None, visible=base is not None),
            empty: gr.update(value=missing, visible=base is None),
        }

    return Compare(prompt, checkpoint, use, outputs, show)
