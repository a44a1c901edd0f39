"""Train: the form, in three views of one job, and what is told before the start. The run itself is in run.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from engine.errors import JobError
from engine.families.catalog import BASES, BaseInfo
from engine.jobs import TrainJob
from engine.settings import resolve

from .. import drafts, form, pieces, preflight
from ..form import Draft
from ..pieces import Choice, Options, Piece, Words
from ..studio import Studio
from ..wiring import Updates, on

SECTIONS = {
    "model": "Base model", "network": "Network", "datasets": "Pictures", "train": "Learning", "train.ema_config": "Average of the weights",
    "sample": "Samples", "save": "Saving", "logging": "Log",
}  # fmt: skip
VIEWS = ("Simple", "Pro", "YAML")


@dataclass
class TrainForm:
    """What the shell needs of the form."""

    view: gr.Column
    go: gr.Button
    flight: gr.HTML
    inputs: set[Any]
    outputs: list[Any]
    level: gr.Radio
    open: Callable[..., Updates]
    """(view) → updates that show the job as it was left."""
    prepare: Callable[[str | None], Updates]
    """Updates for a new job with a data set."""
    submit: Callable[[dict[Any, Any]], tuple[str | None, Updates]]
    """The name of the run that was put into the line, or None and what is wrong beside its field."""
    dataset: Callable[[dict[Any, Any]], str | None]
    """The data set that is chosen in the form."""
    put_trigger: Callable[[dict[Any, Any]], Updates]
    """Puts the trigger words into the captions that do not say them."""


def build(studio: Studio) -> TrainForm:  # noqa: PLR0915 - a layout and its events
    library, runner, memory = studio.library, studio.runner, studio.memory
    tiles = [(f"{base.title}\n{_tile(base)}", base.name_or_path) for base in BASES]

    with gr.Column(elem_classes="page") as page:
        with gr.Row(elem_classes="title-row"):
            Piece(pieces.heading("New LoRA", "A few answers. Everything else follows from them."))
            level = Options(
                VIEWS,
                value="Simple",
                show_label=False,
                container=False,
                elem_classes="segments",
                scale=0,
                min_width=230,
                elem_id="level",
            )
        with gr.Row(elem_classes="split"):
            with gr.Column(scale=7, min_width=320, elem_classes="form"):
                with gr.Column() as simple_view:
                    with gr.Row():
                        top = form.pick(
                            TrainJob, {"name": {"elem_id": "run-name", "min_width": 200, "info": ""}}
                        )
                        pictures = Choice([], label="Pictures", min_width=200, elem_id="pictures")
                    base = Options(
                        tiles,
                        value=BASES[0].name_or_path,
                        label="Base model",
                        elem_classes=f"tiles {_across(len(tiles))}",
                        elem_id="base",
                    )
                    length = Options(
                        [], label="How long?", elem_classes="tiles three-up short", elem_id="length"
                    )
                    with gr.Row(elem_classes="numbers"):
                        narrow = {"min_width": 150}
                        numbers = form.pick(
                            TrainJob,
                            {
                                "train.steps": narrow | {"elem_id": "steps"},
                                "train.lr": narrow,
                                "network.rank": narrow,
                            },
                        )
                    rest = form.pick(
                        TrainJob,
                        {
                            "trigger_word": {"label": "Trigger words", "info": "Words that call it up in a prompt. They stand for [trigger] in captions and prompts.", "elem_id": "trigger"},
                            "sample.prompts": {"label": "Sample prompts", "info": "One a line. These develop on the film strip, always from the same seeds.", "lines": 4, "elem_id": "prompts"},
                        },
                    )  # fmt: skip
                with gr.Column(visible=False, elem_id="pro") as pro_view:
                    search = Words(
                        show_label=False,
                        placeholder="Search all settings, for example: rank",
                        elem_id="search",
                    )
                    pro = form.build(TrainJob, SECTIONS)
                with gr.Column(visible=False) as yaml_view:
                    code = gr.Code(
                        "",
                        language="yaml",
                        label="Only what differs from the defaults",
                        lines=18,
                        interactive=True,
                        elem_id="yaml",
                    )
            with gr.Column(scale=4, min_width=320, elem_classes="card sticky"):
                flight = Piece("", elem_id="flight")
                go = gr.Button("Train", variant="primary", size="lg", elem_id="go")
    # The draft and the view are of this tab of the browser; a reload begins with the draft that the memory keeps.
    typed, shown, told = gr.State({}), gr.State("Simple"), gr.State({})

    simple = form.Form([*top.fields, *numbers.fields, *rest.fields])
    views = (simple_view, pro_view, yaml_view)
    inputs = {*simple.widgets, *pro.widgets, pictures, base, code, typed, shown, told}
    simple_parts = [pictures, base, length]
    outputs = [*simple.widgets, *simple_parts, *pro.widgets, *(group for options in pro.choices.values() for _, group in options),
               code, flight, typed, shown, told, level, *views]  # fmt: skip

    # ---- one job, three views ------------------------------------------------------------------------------------------
    def kept() -> Draft:
        """The job as it was left; begun anew if its pictures are gone, or if there were none."""
        draft = memory.get("draft") or {}
        path = form.get(draft, "datasets.0.path", None)
        return draft if path and resolve(path).is_dir() else fresh(memory.get("dataset"))

    def fresh(dataset: str | None, base_path: str | None = None) -> Draft:
        names = library.names()
        dataset = dataset if dataset in names else names[0] if names else None
        chosen = next((one for one in BASES if one.name_or_path == base_path), BASES[0])
        folder = library.folder(dataset) if dataset else None
        captions = [library.caption(path) for path in library.pictures(dataset)] if dataset else []
        return drafts.begin(chosen, drafts.free_name(dataset or "my-lora", taken()), folder, captions)

    def taken() -> set[str]:
        return {record.name for record in runner.runs()} | {path.name for path in runner.root.iterdir()}

    def gather(values: dict[Any, Any]) -> Draft:
        """The draft with what stands in the view that is open."""
        draft = values[typed] or kept()
        match values[shown]:
            case "Simple":
                draft = simple.read(values, draft)
            case "Pro":
                draft = pro.read(values, draft)
            case _:
                draft, _ = drafts.from_yaml(values[code])
        memory.put(draft=draft)
        return draft

    def fill(draft: Draft) -> Updates:
        """All of the Simple view, and the card beside it."""
        job, problems = drafts.settled(draft)
        names = library.names()
        path = form.get(draft, "datasets.0.path", None)
        here = library.name_of(path)
        choices = [
            (f"{name} · {len(library.pictures(name))} pictures", str(library.folder(name))) for name in names
        ]
        if path and here is None:
            choices.append((str(path), str(path)))
        chosen = drafts.base_in(draft)
        offered = drafts.lengths(chosen or BASES[0])
        steps = form.get(draft, "train.steps", 2000)
        own = form.get(draft, "model.name_or_path", None)
        return simple.show(draft, problems) | {
            flight: card(draft, job, problems),
            typed: draft,
            told: problems,
            pictures: gr.update(choices=choices, value=path),
            base: gr.update(
                choices=tiles if chosen or not own else [*tiles, (f"{own}\nOf your own choice", own)],
                value=own,
            ),
            length: gr.update(choices=offered, value=steps if steps in dict(offered).values() else None),
        }

    def judge(draft: Draft, marks: form.Form | None = None, before: dict[str, str] | None = None) -> Updates:
        """The card beside the form, and what is wrong beside its field."""
        job, problems = drafts.settled(draft)
        updates: Updates = {flight: card(draft, job, problems), typed: draft, told: problems}
        return updates | (marks.mark(problems, before or {}, draft) if marks else {})

    def card(draft: Draft, job: TrainJob | None, problems: dict[str, str]) -> str:
        return preflight.describe(
            studio, draft, job, [_of_field(path, words, simple) for path, words in problems.items()]
        )

    def on_type(marks: form.Form) -> Callable[[dict[Any, Any]], Updates]:
        def change(values: dict[Any, Any]) -> Updates:
            draft = gather(values | {shown: "Simple" if marks is simple else "Pro"})
            updates = judge(draft, marks, values[told])
            if marks is simple:
                updates[length] = gr.update(value=form.get(draft, "train.steps", 2000))
            return updates

        return change

    def on_yaml(values: dict[Any, Any]) -> Updates:
        try:
            draft, notes = drafts.from_yaml(values[code])
        except JobError as error:
            return {flight: pieces.preflight("Not YAML yet", "", [("look", str(error), "", "")])}
        memory.put(draft=draft)
        job, problems = drafts.settled(draft)
        return {
            flight: card(draft, job, problems | {str(k): note for k, note in enumerate(notes)}),
            typed: draft,
            told: problems,
        }

    def on_base(values: dict[Any, Any]) -> Updates:
        draft = gather(values | {shown: "Simple"})
        chosen = next((one for one in BASES if one.name_or_path == values[base]), None)
        draft = drafts.with_base(draft, chosen) if chosen else draft
        memory.put(draft=draft)
        return fill(draft)

    def on_pictures(values: dict[Any, Any]) -> Updates:
        """Another data set: name, trigger words and prompts follow, where they still are as they were proposed."""
        draft = gather(values | {shown: "Simple"})
        before, now = form.get(draft, "datasets.0.path", None), values[pictures]
        old = _proposed(fresh, library.name_of(before), values[base])
        new = _proposed(fresh, library.name_of(now), values[base])
        for path in ("name", "trigger_word", "sample.prompts"):
            if form.get(draft, path, None) in (form.get(old, path, None), None):
                form.put(draft, path, form.get(new, path, None))
        form.put(draft, "datasets.0.path", now)
        memory.put(draft=draft)
        return fill(draft)

    def on_length(values: dict[Any, Any], steps: int) -> Updates:
        draft = gather(values)
        form.put(draft, "train.steps", steps)
        memory.put(draft=draft)
        return fill(draft)

    def switch(values: dict[Any, Any]) -> Updates:
        """Another view of the same job. Text that is no YAML stays where it was typed."""
        wanted = values[level]
        try:
            draft = gather(values)
        except JobError as error:
            gr.Warning(escape(str(error)), title="Mend the YAML first")
            return {level: values[shown]}
        job, _ = drafts.settled(draft)
        draft = drafts.short(job) if job else draft
        return show(draft, wanted)

    def show(draft: Draft, wanted: str) -> Updates:
        updates: Updates = {
            view: gr.update(visible=name == wanted) for view, name in zip(views, VIEWS, strict=True)
        }
        updates |= {level: wanted, shown: wanted}
        if wanted == "YAML":
            return updates | {code: drafts.to_yaml(draft)} | judge(draft)
        if wanted == "Pro":
            return updates | judge(draft) | pro.show(draft, drafts.settled(draft)[1])
        return updates | fill(draft)

    def submit(values: dict[Any, Any]) -> tuple[str | None, Updates]:
        marks = {"Simple": simple, "Pro": pro}.get(values[shown])
        try:
            draft = gather(values)
            job, problems = drafts.settled(draft)
            if job is None:
                return None, judge(draft, marks, values[told])
            preflight.refuse_what_cannot_work(studio, draft)
            return runner.submit(job), {}
        except (JobError, OSError) as error:
            gr.Warning(escape(str(error)), title="It was not started")
            return None, {}

    def dataset_of(values: dict[Any, Any]) -> str | None:
        try:
            return library.name_of(form.get(gather(values), "datasets.0.path", None))
        except JobError:
            return None

    def put_trigger(values: dict[Any, Any]) -> Updates:
        draft = gather(values)
        name, trigger = dataset_of(values), form.get(draft, "trigger_word", None)
        if name and trigger:
            library.put_trigger_first(name, str(trigger))
        return judge(draft)

    def reopen(view: str = "Simple") -> Updates:
        """The job as it was left, in the view that is open; YAML stays as it was typed."""
        return {} if view == "YAML" else show(kept(), view)

    def prepare(dataset: str | None) -> Updates:
        draft = fresh(dataset, form.get(memory.get("draft") or {}, "model.name_or_path", None))
        memory.put(draft=draft)
        return show(draft, "Simple")

    # ---- events ----------------------------------------------------------------------------------------------------------
    typing = {"trigger_mode": "always_last"}  # "once", the default, loses the last letters
    on(
        _typing(simple.widgets),
        on_type(simple),
        {*simple.widgets, typed, shown, told},
        outputs,
        **typing,
    )
    on(
        _typing(pro.widgets),
        on_type(pro),
        {*pro.widgets, typed, shown, told},
        outputs,
        **typing,
    )
    on([code.input, code.blur], on_yaml, inputs, outputs, **typing)
    on(base.input, on_base, inputs, outputs, **typing)
    on(pictures.input, on_pictures, inputs, outputs, **typing)
    on(length.input, lambda values: on_length(values, values[length]), inputs | {length}, outputs, **typing)
    on(level.input, switch, inputs | {level}, outputs, **typing)
    sections = [section for _, section in pro.sections]
    on(search.change, pro.search, search, [*pro.widgets, *sections], **typing)
    return TrainForm(
        page, go, flight, inputs, outputs, level, reopen, prepare, submit, dataset_of, put_trigger
    )


def _typing(widgets: list[Any]) -> list[Any]:
    """Events of a person's typing. A text field's .input means keys alone: what is pasted or deleted is heard when it is left."""
    return [event for widget in widgets for event in (widget.input, getattr(widget, "blur", None)) if event]


def _tile(base: BaseInfo) -> str:
    size = "" if base.size_gb < 1 else f" · {base.size_gb:.0f} GB"
    gate = ", after a sign-up" if base.gated else ""
    return f"{base.note}\n{base.licence}{size}{gate}"


def _across(count: int) -> str:
    return {2: "two-up", 3: "three-up"}.get(count, "four")


def _of_field(path: object, sentence: str, simple: form.Form) -> str:
    """The sentence as it stands on the card: with the words that the form has for the field."""
    owner = simple.owner(str(path), {})
    rest = sentence.removeprefix(f"{path}: ").removeprefix(f"{path} ")
    return f"{owner.widget.label}: {rest}" if owner else sentence


def _proposed(fresh: Callable[..., Draft], name: str | None, base_path: str | None) -> Draft:
    return fresh(name, base_path) if name else {}
