"""Train: the form, in three views of one job, and what is told before the start. The run itself is in run.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from engine.errors import JobError
from engine.families.catalog import BASES
from engine.jobs import TrainJob

from .. import drafts, folding, form, levels, pieces
from ..desk import Desk
from ..form import Draft
from ..pieces import Choice, Options, Piece, Words
from ..wiring import Updates, on, warned

SECTIONS = {
    "model": "Base model", "network": "Network", "datasets": "Pictures", "train": "Learning", "train.ema_config": "Average of the weights",
    "embedding": "New word (embedding)", "decorator": "Decorator", "adapter": "Adapter for control pictures", "slider": "Slider",
    "pair_slider": "Slider from pairs of pictures",
    "validation": "Validation", "sample": "Samples", "save": "Saving", "logging": "Log",
}  # fmt: skip
VIEWS = ("Simple", "Pro", "YAML")
TRIGGER = "Words that call it up in a prompt. They stand for [trigger] in captions and prompts."
PROMPTS = "One a line. These develop on the film strip, always from the same seeds."
OTHER = "From the list; or the id of a model on the Hugging Face hub, or a folder in diffusers layout."
REFERENCES = "Folder with what each picture was made from, under the same name. Several folders: one a line."
NO_PICTURES = pieces.nothing(
    "There are no pictures yet",
    "A LoRA learns from 10 to 40 pictures of one person, one thing or one style.",
    ("Add pictures", "datasets"),
    ("Try it with the example", "example"),
)
Values = dict[Any, Any]


@dataclass
class TrainForm:
    """What the shell needs of the form."""

    view: gr.Column
    go: gr.Button
    flight: gr.HTML
    empty: gr.HTML
    inputs: set[Any]
    outputs: list[Any]
    open: Callable[..., Updates]
    """Values of ``visit``, of a page that was there before → updates that show the job as it was left."""
    visit: set[Any]
    prepare: Callable[[str | None], Updates]
    """Updates for a new job with a data set."""
    submit: Callable[[Values], tuple[str | None, Updates]]
    """The name of the run that was put into the line, or None and what is wrong beside its field."""
    dataset: Callable[[Values], str | None]
    """The data set that is chosen in the form."""
    put_trigger: Callable[[Values], Updates]
    """Puts the trigger words into the captions that do not say them."""


def build(desk: Desk) -> TrainForm:
    begin = desk.choices({})
    with gr.Column(elem_classes="page") as page:
        with gr.Row(elem_classes="title-row"):
            Piece(pieces.heading("New LoRA", "A few answers. Everything else follows from them."))
            level = Options(
                VIEWS, value="Simple", label="View", show_label=False, container=False, elem_classes="segments", scale=0, min_width=230, elem_id="level"
            )  # fmt: skip
        empty = Piece(NO_PICTURES, visible=False, elem_classes="card", elem_id="no-pictures")
        with gr.Row(elem_classes="split") as rest:
            with gr.Column(scale=7, min_width=320, elem_classes="form"):
                with gr.Column() as simple_view:
                    with gr.Row():
                        top = form.pick(TrainJob, {"name": {"elem_id": "run-name", "min_width": 200, "info": ""}})
                        pictures = Choice(begin.pictures, label="Pictures", min_width=200, elem_id="pictures")
                    base = Options(
                        begin.bases, value=BASES[0].name_or_path, label="Base model", elem_classes="tiles three-up", elem_id="base"
                    )
                    other = Choice(
                        begin.others, value=None, label="Another base model", info=OTHER, allow_custom_value=True, elem_id="other-base"
                    )
                    references = form.pick(
                        TrainJob,
                        {"datasets.0.control_path": {"label": "Reference pictures", "info": REFERENCES, "lines": 1, "visible": False}},
                    )
                    length = Options(begin.lengths, label="How long?", elem_classes="tiles three-up short", elem_id="length")
                    with gr.Row(elem_classes="numbers"):
                        narrow = {"min_width": 150}
                        numbers = form.pick(
                            TrainJob, {"train.steps": narrow | {"elem_id": "steps"}, "train.lr": narrow, "network.rank": narrow}
                        )
                    words = form.pick(
                        TrainJob,
                        {
                            "trigger_word": {"label": "Trigger words", "info": TRIGGER, "elem_id": "trigger"},
                            "sample.prompts": {"label": "Sample prompts", "info": PROMPTS, "lines": 4, "elem_id": "prompts"},
                        },
                    )
                with gr.Column(visible=False, elem_id="pro") as pro_view:
                    search = Words(
                        label="Search all settings",
                        show_label=False,
                        placeholder="Search all settings, for example: rank",
                        max_lines=1,
                        elem_id="search",
                    )
                    found = Piece("", elem_id="found")
                    pro = form.build(TrainJob, SECTIONS, beside={"train.timestep_type": lambda: Piece("", elem_id="noise-levels")})
                with gr.Column(visible=False) as yaml_view:
                    code = gr.Code(
                        "", language="yaml", label="Only what differs from the defaults", lines=18, interactive=True, elem_id="yaml"
                    )
            with gr.Column(scale=4, min_width=320, elem_classes="card sticky"):
                flight = Piece("", elem_id="flight")
                go = gr.Button("Train", variant="primary", size="lg", elem_id="go")
    simple = form.Form(fields=[*top.fields, *references.fields, *numbers.fields, *words.fields])
    views = dict(zip(VIEWS, (simple_view, pro_view, yaml_view), strict=True))
    # These are of one tab of one browser; a reload begins with the draft that the desk keeps.
    typed, shown, wrong = gr.State({}), gr.State("Simple"), gr.State({})
    states = {typed, shown, wrong}
    inputs = {*simple.widgets, *pro.widgets, code, *states}
    drawn, boxes = pro.beside["train.timestep_type"], [section.box for section in pro.sections]
    outputs = [
        *simple.widgets,
        pictures,
        base,
        other,
        length,
        *pro.widgets,
        *pro.groups,
        *boxes,
        drawn,
        code,
        flight,
        *states,
        level,
        *views.values(),
        empty,
        rest,
    ]

    def gather(values: Values) -> Draft:
        """The draft with what stands in the view that is open; JobError if that is no YAML."""
        return gathered(values)[0]

    def gathered(values: Values) -> tuple[Draft, list[str]]:
        """The same, and what of it could not be taken over."""
        notes: list[str] = []
        draft = values[typed] or desk.kept()
        match values[shown]:
            case "Simple":
                draft = simple.read(values, draft)
            case "Pro":
                draft = pro.read(values, draft)
            case _:
                draft, notes = drafts.from_yaml(values[code])
        return desk.keep(draft), notes

    def judge(draft: Draft, notes: list[str] | None = None) -> tuple[Updates, dict[str, str]]:
        """The card beside the form, and what is wrong, by path."""
        _, problems = drafts.settled(draft)
        told = [_of_field(path, sentence, simple) for path, sentence in problems.items()]
        return {flight: desk.card(draft, [*told, *(notes or [])]), typed: draft, wrong: problems}, problems

    def show(draft: Draft, view: str, values: Values | None = None) -> Updates:
        """One of the views, filled; the others are filled when they are opened. What it holds already, by ``values``, is not sent."""
        updates, problems = around(draft, view)
        updates |= {column: gr.update(visible=name == view) for name, column in views.items()} | {level: view, shown: view}
        match view:
            case "YAML":
                return updates | {code: drafts.to_yaml(draft)}
            case "Pro":
                return (
                    updates
                    | pro.show(draft, problems, values)
                    | {drawn: levels.picture(draft)}
                    | folding.shown(pro, draft, usual(draft), problems)
                )
            case _:
                fields, place = simple.show(draft, problems, values), references.widgets[0]
                return updates | fields | {place: fields[place] | updates[place]}

    def usual(draft: Draft) -> Draft:
        """The draft with what is proposed wherever Simple does not ask."""
        result = desk.usual(draft)
        for item in simple.fields:
            form.put(result, item.path, form.get(draft, item.path, item.default))
        return result

    def around(draft: Draft, view: str) -> tuple[Updates, dict[str, str]]:
        """What follows from the draft and from what there is on this computer, and what is wrong; no field that is typed in."""
        updates, problems = judge(draft)
        bare = desk.dataset(draft) is None and not form.get(draft, "datasets.0.path", None) and view == "Simple"
        updates |= {empty: gr.update(visible=bare), rest: gr.update(visible=not bare)}
        if view == "Simple":
            choices, steps = desk.choices(draft), form.get(draft, "train.steps", 2000)
            updates |= {
                pictures: gr.update(choices=choices.pictures, value=form.get(draft, "datasets.0.path", None)),
                base: gr.update(choices=choices.bases, value=form.get(draft, "model.name_or_path", None)),
                other: gr.update(choices=choices.others, value=None),
                references.widgets[0]: gr.update(visible=desk.wants_references(draft)),
                length: gr.update(choices=choices.lengths, value=steps if steps in dict(choices.lengths).values() else None),
            }
        return updates, problems

    def on_type(view: str, marks: form.Form) -> Callable[[Values], Updates]:
        """Something was typed: the card and the marks follow, what is typed stays as it is."""

        def change(values: Values) -> Updates:
            draft = gather(values | {shown: view})
            updates, problems = judge(draft)
            if view == "Simple":
                tile: Updates = {length: gr.update(value=form.get(draft, "train.steps", 2000))}
            else:
                before, now = folding.heads(pro, values[typed] or {}), folding.heads(pro, draft)
                tile = {drawn: levels.picture(draft)} | {box: gr.update(label=words) for box, words in now.items() if words != before[box]}
            return updates | tile | marks.mark(problems, values[wrong], draft) | marks.follow(values, draft)

        return change

    def on_yaml(text: str) -> Updates:
        try:
            draft, notes = drafts.from_yaml(text)
        except JobError as error:
            return {flight: pieces.preflight("Not YAML yet", "", [("look", str(error), "", "")])}
        return judge(desk.keep(draft), notes)[0]

    def answer(path: str, change: Callable[[Draft, Any], Draft]) -> Callable[..., Updates]:
        """A tile or a data set was chosen, which stands at this path: other answers may follow from it."""

        def answered(values: Values, value: Any) -> Updates:
            draft = gather(values | {shown: "Simple"})
            if value in (None, "", form.get(draft, path, None)):
                return {}  # a list tells its choice more than once, and when it is left too
            with warned("That is not known"):
                draft = change(draft, value)
            return show(draft, "Simple", values)

        return answered

    def with_steps(draft: Draft, steps: int) -> Draft:
        form.put(draft, "train.steps", steps)
        return desk.keep(draft)

    def switch(values: Values) -> Updates:
        """Another view of the same job. Text that is no YAML stays where it was typed."""
        with warned("Mend the YAML first"):
            draft, notes = gathered(values)
            job, _ = drafts.settled(draft)
            draft = drafts.short(job) if job else draft
            return show(draft, values[level]) | (judge(draft, notes)[0] if notes else {})
        return {level: values[shown]}

    def look_for(text: str, draft: Draft) -> Updates:
        updates, number = folding.search(pro, text, draft or {}, usual(draft or {}))
        return updates | {found: pieces.hint("No setting has all these words.") if text.strip() and not number else ""}

    def submit(values: Values) -> tuple[str | None, Updates]:
        marks = {"Simple": simple, "Pro": pro}.get(values[shown])
        with warned("It was not started"):
            draft, notes = gathered(values)
            updates, problems = judge(draft, notes)
            if problems:
                folds = folding.shown(pro, draft, usual(draft), problems) if marks is pro else {}
                return None, updates | folds | (marks.mark(problems, values[wrong], draft) if marks else {})
            name = desk.start(draft)
            if notes:
                gr.Info(escape(" ".join(notes)), title="Not all of it could be taken over", duration=20)
            return name, {}
        return None, {}

    def dataset(values: Values) -> str | None:
        try:
            return desk.dataset(gather(values))
        except JobError:
            return None

    def put_trigger(values: Values) -> Updates:
        draft = gather(values)
        desk.with_trigger_in_captions(draft)
        return judge(draft)[0]

    def reopen(values: Values | None = None) -> Updates:
        """The job as it was left, in the view that is open; YAML stays as it was typed."""
        draft, view = desk.kept(), values[level] if values else "Simple"
        if view == "YAML":
            return {}
        return around(draft, view)[0] if values and draft == values[typed] else show(draft, view, values)

    def pair(handler: Callable[[Values, Any], Updates], widget: Any) -> Callable[[Values], Updates]:
        return lambda values: handler(values, values[widget])

    typing = {"trigger_mode": "always_last"}  # "once", the default, loses the last letters
    for view, marks in (("Simple", simple), ("Pro", pro)):
        on(_typing(marks.widgets), on_type(view, marks), {*marks.widgets, *states}, outputs, **typing)
    on([code.input, code.blur], on_yaml, code, outputs, **typing)
    chosen = (
        (base, "model.name_or_path", desk.with_base), (other, "model.name_or_path", desk.with_base),
        (pictures, "datasets.0.path", desk.with_pictures), (length, "train.steps", with_steps),
    )  # fmt: skip
    for widget, path, change in chosen:
        on(widget.input, pair(answer(path, change), widget), {*simple.widgets, *states, widget}, outputs, **typing)
    on(level.input, switch, inputs | {level}, outputs, **typing)
    on(search.change, look_for, [search, typed], [*pro.widgets, *boxes, drawn, found], **typing)
    return TrainForm(
        page,
        go,
        flight,
        empty,
        inputs,
        outputs,
        reopen,
        inputs | {level},
        lambda name: show(desk.begin(name), "Simple"),
        submit,
        dataset,
        put_trigger,
    )


def _typing(widgets: list[Any]) -> list[Any]:
    """Events of a person's typing. A text field's .input means keys alone: what is pasted or deleted is heard when it is left."""
    return [event for widget in widgets for event in (widget.input, getattr(widget, "blur", None)) if event]


def _of_field(path: str, sentence: str, simple: form.Form) -> str:
    """The sentence as it stands on the card: with the words that the form has for the field."""
    owner = simple.owner(path, {})
    head, _, rest = sentence.partition(" ")
    return f"{owner.widget.label} {rest}" if owner and path.endswith(head) else sentence
