"""Captions of a whole data set: find and replace, words before and after, and captions written by a captioner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from pydantic import ValidationError

from engine.data.words import count
from engine.errors import JobError
from engine.jobs.tools.captions import CaptionJob, FileName, QwenVl, Template
from engine.tools.captioners import CAPTIONERS, CaptionerInfo

from .. import drafts, pieces, wording
from ..pieces import Check, Choice, Options, Piece, Words
from ..studio import Studio
from ..wiring import Updates, on
from ..wording import Change

REPLACE, ADD, WRITE = "Find and replace", "Add words", "Caption them all"
BY_TITLE = {info.title: info for info in CAPTIONERS}
ASKED = {"template": ("Caption", "a photo of [trigger]"), "qwen_vl": ("What it is asked", QwenVl(type="qwen_vl").caption_prompt)}
"""Type of a captioner that is told something → label of the field, and what stands in it."""
HINTS = {
    "file_name": "The words of the file's name: red_car-02.jpg becomes red car. Needs no model, and is done at once.",
    "template": "[name] stands for the file's name, [folder] for its folder; [trigger] stays for the training. Needs no model.",
    "florence2": "Fast, and plain. It takes no instructions.",
    "qwen_vl": "Knows what is in a picture best, and does as it is told: describe everything except the person.",
    "blip": "Small: one short sentence.",
    "tagger": "Tags as image boards have them.",
}
PREVIEWED = 5


@dataclass
class Captioning:
    """What the tab and the shell need of these tools."""

    result: gr.HTML
    outputs: list[Any]
    inputs: list[Any]
    try_it: gr.Button
    start: gr.Button
    clear: Callable[[], Updates]
    bind: Callable[..., None]
    """(editing, outputs of the tab, refresh(key, notes), name of a key's data set)."""
    submit: Callable[..., str | None]
    """(data set, preview?, the inputs' values) → the name of the run that was put in the line."""


def build(studio: Studio) -> Captioning:
    library = studio.library
    way = Options(
        [REPLACE, ADD, WRITE], value=REPLACE, label="What is done", show_label=False, elem_classes="segments", elem_id="caption-way"
    )
    with gr.Row(elem_classes="fields") as replacing:
        find = Words(label="Find", max_lines=1, elem_id="find")
        replacement = Words(label="Replace with", max_lines=1, elem_id="replacement")
        case = Check(label="Capital and small letters are the same", elem_id="ignore-case")
    with gr.Row(elem_classes="fields", visible=False) as adding:
        before = Words(label="Before each caption", placeholder="[trigger], ", max_lines=1, elem_id="add-before")
        after = Words(label="After each caption", placeholder=", a photo of [trigger]", max_lines=1, elem_id="add-after")
    with gr.Column(visible=False) as writing:
        with gr.Row(elem_classes="fields"):
            who = Choice(
                [(_label(info), info.title) for info in CAPTIONERS], value=CAPTIONERS[0].title, label="Written by",
                info=HINTS[CAPTIONERS[0].type], elem_id="captioner",
            )  # fmt: skip
            prefix = Words(label="Before each caption", placeholder="[trigger], ", max_lines=1, elem_id="caption-prefix")
        text = Words(label="Caption", lines=2, visible=False, elem_id="caption-text")
        again = Check(label="Pictures that have a caption, too", elem_id="caption-again")
    result = Piece("", elem_id="caption-changes")
    with gr.Row(elem_classes="actions"):
        apply = gr.Button("Apply", size="md", scale=0, min_width=110, interactive=False, elem_id="caption-apply")
        try_it = gr.Button(f"Preview on {PREVIEWED} pictures", size="md", scale=0, min_width=190, visible=False, elem_id="caption-preview")
        start = gr.Button("Start", size="md", scale=0, min_width=110, visible=False, elem_id="caption-start")
    inputs = [way, find, replacement, case, before, after, who, prefix, text, again]

    def planned(
        name: str, way: str, find: str, replacement: str, case: bool, before: str, after: str, who: str, prefix: str, text: str, again: bool
    ) -> tuple[str, list[Change]]:
        """What would be done, as the list of what can be undone has it, and the changes."""
        if way == REPLACE:
            return f"{find!r} replaced", wording.edits_of(library, name, wording.replacing(find, replacement, case))
        if way == ADD:
            return "Words added to captions", wording.edits_of(library, name, wording.adding(before, after))
        settings = FileName(type="file_name") if BY_TITLE[who].type == "file_name" else Template(type="template", text=text)
        return "Captions written", wording.written_by(library, name, settings, prefix, again)

    def wanted(
        way: str, find: str, _replacement: str, _case: bool, before: str, after: str, who: str, _prefix: str, text: str, _again: bool
    ) -> bool:
        """Whether something is asked for that is done without a model."""
        if way == WRITE:
            kind = BY_TITLE[who].type
            return kind == "file_name" or (kind == "template" and bool(text.strip()))
        return bool(find) if way == REPLACE else bool(before or after)

    def look(name: str, *values: Any) -> Updates:
        """The first changes, before anything is changed."""
        if not wanted(*values):
            return clear()
        try:
            _, changes = planned(name, *values)
        except (JobError, OSError, ValidationError) as error:
            return {result: pieces.notes([("look", _said(error), "", "")]), apply: gr.update(interactive=False)}
        words = f'<p class="lead">{escape(wording.counted(changes))}</p>'
        return {result: words + pieces.wordings(wording.shown(library, changes)), apply: gr.update(interactive=bool(changes))}

    def choose(chosen: str, title: str, words: str) -> Updates:
        """The fields of the chosen way."""
        info = BY_TITLE[title]
        model = chosen == WRITE and bool(info.model_name_or_path)
        label, proposal = ASKED.get(info.type, ("", ""))
        others = {begin for _, begin in ASKED.values()}
        return clear() | {
            replacing: gr.update(visible=chosen == REPLACE),
            adding: gr.update(visible=chosen == ADD),
            writing: gr.update(visible=chosen == WRITE),
            who: gr.update(info=HINTS[info.type]),
            text: gr.update(visible=bool(label), label=label or "Caption", **({"value": proposal} if not words or words in others else {})),
            apply: gr.update(visible=not model, interactive=False, value="Write them" if chosen == WRITE else "Apply"),
            try_it: gr.update(visible=model),
            start: gr.update(visible=model),
        }

    def clear() -> Updates:
        return {result: "", apply: gr.update(interactive=False)}

    def bind(
        editing: gr.Textbox, view: list[Any], refresh: Callable[[str, list[pieces.Note]], Updates], name_of: Callable[[str], str]
    ) -> None:
        def write(key: str, *values: Any) -> Updates:
            try:
                what, changes = planned(name_of(key), *values)
                number = wording.write(library, name_of(key), what, changes)
            except (JobError, OSError, ValidationError) as error:
                gr.Warning(escape(_said(error)), title="That did not work")
                return {}
            told: list[pieces.Note] = [("ok", f"{count(number, 'caption')} changed", "Undo", "back")]
            return refresh(key, []) | {result: pieces.notes(told)}

        fields = [replacing, adding, writing, who, text, apply, try_it, start, result]
        preview: dict[str, Any] = {"trigger_mode": "always_last"}
        on([way.change, who.change], choose, [way, who, text], fields).then(
            lambda key, *values: look(name_of(key), *values),
            [editing, *inputs],
            [result, apply],
            show_progress="hidden",
            show_progress_on=[],
        )
        typed = [find.change, replacement.change, case.change, before.change, after.change, prefix.change, text.change, again.change]
        on(typed, lambda key, *values: look(name_of(key), *values), [editing, *inputs], [result, apply], **preview)
        on(apply.click, write, [editing, *inputs], view)

    def submit(name: str, preview: bool, *values: Any) -> str | None:
        who, prefix, text, again = values[-4:]
        try:
            return studio.runner.submit(_job(studio, name, BY_TITLE[who], str(prefix), str(text), bool(again), PREVIEWED if preview else 0))
        except (JobError, ValidationError) as error:
            gr.Warning(escape(_said(error)), title="That did not work")
            return None

    return Captioning(result, [result, apply], inputs, try_it, start, clear, bind, submit)


def _job(studio: Studio, name: str, info: CaptionerInfo, prefix: str, text: str, again: bool, preview: int) -> CaptionJob:
    captioner: dict[str, Any] = {"type": info.type, "model_name_or_path": info.model_name_or_path}
    if info.type == "qwen_vl" and text.strip():
        captioner["caption_prompt"] = text
    wish = f"captions-{name}{'-preview' if preview else ''}"
    return CaptionJob.model_validate(
        {
            "name": drafts.free_name(wish, studio.names()), "path": studio.library.named(name), "captioner": captioner,
            "prefix": prefix, "skip_existing": not again, "preview": preview,
        }
    )  # fmt: skip


def _label(info: CaptionerInfo) -> str:
    return f"{info.title} · {info.size_gb:g} GB · {info.licence}" if info.model_name_or_path else f"{info.title} · needs no model"


def _said(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(str(one["msg"]) for one in error.errors())
    return str(error)
