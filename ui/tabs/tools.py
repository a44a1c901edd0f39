"""LoRA tools: what is in a file, and the file in the form that another program reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from engine.errors import JobError
from engine.families.catalog import FAMILIES, base_of

from .. import pieces
from ..exporting import FORMS, download, export
from ..pieces import Choice, Options, Piece
from ..studio import Studio
from ..wiring import Updates, on, warned
from .playground import loras

SIZES = 430


@dataclass
class Tools:
    lora: gr.Dropdown
    outputs: list[Any]
    open: Callable[[], Updates]
    """Updates for a person who comes to this page."""


def build(studio: Studio) -> Tools:
    with gr.Row(elem_classes="split"):
        with gr.Column(scale=3, min_width=300, elem_classes="card form"):
            lora = Choice(_choices(studio), value=None, label="LoRA", elem_id="tool-lora")
            own = gr.File(
                file_types=[".safetensors"],
                label="A .safetensors file",
                show_label=False,
                height=84,
                elem_classes="small-drop",
                elem_id="tool-file",
            )
            facts = Piece("", elem_id="tool-facts")
            form = Options(
                FORMS,
                value="comfyui",
                label="Export for",
                elem_classes="segments",
                visible=False,
                elem_id="tool-form",
            )
            take = gr.Button("Export", variant="primary", size="md", visible=False, elem_id="tool-export")
            file = gr.DownloadButton("", elem_id="tool-export-file", elem_classes="out-of-sight")
        with gr.Column(scale=7, min_width=320, elem_classes="card"):
            title = Piece(
                pieces.nothing("Nothing to look into yet", "Pick a LoRA, or drop a .safetensors file."),
                elem_id="tool-title",
            )
            chart = gr.BarPlot(
                pd.DataFrame({"block": [], "change": [], "part": []}), x="block", y="change", color="part",
                color_map={"strongest": "#E5382A", "the rest": "#8C8279"}, x_axis_labels_visible=False, x_title="blocks, first to last",
                y_title="norm of the update", color_title=" ", height=SIZES, show_label=False, buttons=[], visible=False, elem_id="norms",
            )  # fmt: skip
            with gr.Accordion("Everything that the file says", open=False, visible=False) as more:
                metadata = Piece("")
    outputs = [lora, own, facts, form, take, title, chart, more, metadata]

    def look(path: str | None) -> Updates:
        if not path:
            return {}
        from engine.tools.inspect import inspect_lora  # loads torch: not before it is asked for

        try:
            report = inspect_lora(Path(path))
        except (JobError, OSError) as error:
            words = pieces.notes([("look", str(error), "", "")])
            return {title: words, facts: "", metadata: ""} | {one: gr.update(visible=False) for one in (form, take, chart, more)}
        rows = pd.DataFrame(report.blocks, columns=["block", "change"])
        strong = rows["change"].quantile(0.8) if len(rows) else 0
        rows["part"] = ["strongest" if value > strong else "the rest" for value in rows["change"]]
        top = float(rows["change"].max()) if len(rows) else 1.0
        plain = {key: value for key, value in report.metadata.items() if len(value) <= 4000}
        return {
            title: pieces.heading(
                "Where it is strong",
                "How much each part of the model was changed. An even profile is healthy.",
            ),
            facts: pieces.facts(_facts(report)),
            chart: gr.update(value=rows, y_lim=[0, (top or 1.0) * 1.08], visible=True),
            metadata: pieces.facts(sorted(plain.items()), "long")
            if plain
            else pieces.nothing("No metadata", "The file holds only its weights."),
            form: gr.update(visible=True),
            take: gr.update(visible=True),
            more: gr.update(visible=True),
        }

    def write(path: str | None, dropped: str | None, wanted: Any) -> str | None:
        source = Path(dropped or path or "")
        with warned("It was not exported"):
            if not source.is_file():
                raise JobError("There is no such file any more.", "Pick another LoRA.")
            return str(export(studio, source, wanted, source.stem))
        return None

    def open_page() -> Updates:
        return {lora: gr.update(choices=_choices(studio))}

    on(lora.input, lambda path: {own: None} | look(path), lora, outputs, show_progress="minimal", show_progress_on=[title])
    on(own.upload, lambda path: {lora: None} | look(path), own, outputs, show_progress="minimal", show_progress_on=[title])
    on(take.click, write, [lora, own, form], file).success(None, file, None, js=download("tool-export-file"))
    return Tools(lora, outputs, open_page)


def _choices(studio: Studio) -> list[tuple[str, str]]:
    return [choice for choice in loras(studio) if choice[1]]


def _facts(report: Any) -> list[tuple[str, str]]:
    base = base_of(report.base) if report.base else None
    family = FAMILIES[report.family].title if report.family in FAMILIES else report.family
    made_for = base.title if base else report.base or family or "not known"
    size = f"{report.size / 2**20:.1f} MB" if report.size < 100 * 2**20 else f"{report.size / 2**20:,.0f} MB"
    return [
        ("made for", made_for),
        ("family", family or "not known"),
        ("kind", report.kind),
        ("rank", _several(report.ranks) or "whole"),
        ("alpha", _several(report.alphas) or "–"),
        ("trigger words", report.trigger or "–"),
        ("steps", f"{report.steps:,}" if report.steps else "–"),
        ("layers", f"{report.layers:,}"),
        ("file", f"{size}, {report.dtype}"),
        ("names as in", report.form),
        (
            "written by",
            "Darkroom" if "darkroom" in str(report.metadata).lower() else "another program" if report.metadata else "–",
        ),
    ]


def _several(values: list[float]) -> str:
    words = [f"{value:g}" for value in values]
    return ", ".join(words) if len(words) <= 3 else f"{words[0]} to {words[-1]}"
