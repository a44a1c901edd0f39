"""A Gradio form made from a pydantic model: one widget a field, keyed by its dotted path. It knows no job and no model family.

This is the layout; what the widgets hold is in fields.py, how a draft goes into them and comes out of them in answers.py, and which
sections are open in folding.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .answers import Form, Section, check
from .fields import (
    Field,
    as_written,
    choices_of,
    is_part,
    kinds_of,
    label,
    models_of,
    plain,
    shape_of,
    tag_of,
    text_of,
)
from .nested import Draft, drop, get, put

__all__ = ["Draft", "Field", "Form", "build", "check", "drop", "get", "label", "pick", "plain", "put"]
Conditions = tuple[tuple[str, Any], ...]


def build(
    model: type[BaseModel], titles: dict[str, str], skip: frozenset[str] = frozenset(), beside: dict[str, Callable[[], Any]] | None = None
) -> Form:
    """The form of a model: plain fields first, then a section for each part of it.

    ``titles`` names the sections by path; ``beside`` makes what stands behind a field.
    """
    form = Form(model)
    _Layout(form, titles, skip, beside or {}).section(model, "", ())
    return form


def pick(model: type[BaseModel], chosen: dict[str, dict[str, Any]]) -> Form:
    """A form of a few fields by their paths, made where it is called; each with what its widget says other than usual."""
    form = Form()
    for path, changes in chosen.items():
        info = _find(model, path.split("."))
        form.fields.append(_field(path, info, (), changes))
    return form


def _find(model: type[BaseModel], parts: list[str]) -> FieldInfo:
    name, *rest = (part for part in parts if not part.isdigit())
    info = model.model_fields[name]
    if not rest:
        return info
    return next(_find(inner, rest) for inner in models_of(info.annotation) if rest[0] in inner.model_fields)


class _Layout:
    """Makes the widgets of a form, section by section."""

    def __init__(self, form: Form, titles: dict[str, str], skip: frozenset[str], beside: dict[str, Callable[[], Any]]):
        self.form, self.titles, self.skip, self.beside = form, titles, skip, beside

    def section(self, model: type[BaseModel], prefix: str, conditions: Conditions, first: Any = None) -> None:
        """The fields of a model, then its parts. ``first`` is the section that there is where none is given."""
        plain_ones: list[tuple[str, FieldInfo]] = []
        parts: list[tuple[str, FieldInfo]] = []
        for name, info in model.model_fields.items():
            path = f"{prefix}{name}"
            is_constant = get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1
            if path in self.skip or name == "version" or is_constant:
                continue
            (parts if is_part(info) else plain_ones).append((path, info))
        if plain_ones:
            with gr.Row(elem_classes="fields"):
                for path, info in plain_ones:
                    self.form.fields.append(_field(path, info, conditions, first=getattr(first, path.rpartition(".")[2], None)))
                    if path in self.beside:
                        self.form.beside[path] = self.beside[path]()
        for path, info in parts:
            title = self.titles.get(path, label(path))
            with gr.Accordion(title, open=False) as box:
                self.part(path, info, conditions)
            self.form.sections.append(Section(path, title, box))

    def part(self, path: str, info: FieldInfo, conditions: Conditions) -> None:
        models = models_of(info.annotation)
        if get_origin(info.annotation) is list:  # of a list, the first is shown; YAML has them all
            self.section(models[0], f"{path}.0.", conditions)
        elif len(models) > 1:
            self._one_of(path, info, models, conditions)
        elif type(None) in kinds_of(info.annotation):
            self._if_wanted(path, info, models[0], conditions)
        else:
            first = None if info.is_required() else info.get_default(call_default_factory=True)
            self.section(models[0], f"{path}.", conditions, first)

    def _one_of(self, path: str, info: FieldInfo, models: list[type[BaseModel]], conditions: Conditions) -> None:
        """A choice of models, and the fields of each; none of them where it may be left out."""
        tag, optional = tag_of(info), type(None) in kinds_of(info.annotation)
        key, help_ = f"{path}.{tag}", info.description or ""
        names = [model.model_fields[tag].default for model in models]
        default = None if optional else getattr(info.get_default(call_default_factory=True), tag)
        with gr.Row(elem_classes="fields"):
            choice = gr.Dropdown(
                [*([("", None)] if optional else []), *((name, name) for name in names)],
                value=default, label=label(tag), info=help_, interactive=True, min_width=220,
            )  # fmt: skip
        self.form.fields.append(Field(key, conditions, "choice", default, default, optional, help_, choice))
        groups: list[tuple[Any, Any]] = []
        for name, model in zip(names, models, strict=True):
            with gr.Column(visible=name == default) as group:
                self.section(model, f"{path}.", (*conditions, (key, name)))
            groups.append((name, group))
        self._switches(key, choice, groups)

    def _if_wanted(self, path: str, info: FieldInfo, model: type[BaseModel], conditions: Conditions) -> None:
        """A section that may be left out, and its fields when it is not."""
        help_ = info.description or ""
        with gr.Row(elem_classes="fields"):
            wanted = gr.Checkbox(False, label="Use it", info=help_, interactive=True, min_width=220)
        self.form.fields.append(Field(path, conditions, "section", None, None, True, help_, wanted))
        with gr.Column(visible=False) as group:
            self.section(model, f"{path}.", (*conditions, (path, True)))
        self._switches(path, wanted, [(True, group)])

    def _switches(self, key: str, widget: Any, groups: list[tuple[Any, Any]]) -> None:
        """The group of what is chosen is shown, the others are not."""
        self.form.choices[key] = groups

        def switch(now: Any) -> dict[Any, Any]:
            return {group: gr.update(visible=value == now) for value, group in groups}

        widget.change(switch, widget, [group for _, group in groups], show_progress="hidden")


def _field(path: str, info: FieldInfo, conditions: Conditions, changes: dict[str, Any] | None = None, first: Any = None) -> Field:
    """The widget for one plain field, with its default in it."""
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        default = default.model_dump(mode="json", exclude_defaults=True)
    changes, choices = changes or {}, choices_of(info.annotation)
    name, shape = label(path), shape_of(info.annotation, choices)
    sentence = changes.get("info", (info.description or "").removeprefix(f"{name}: "))
    sentence = sentence[:1].upper() + sentence[1:]
    first = first.model_dump(mode="json", exclude_defaults=True) if isinstance(first, BaseModel) else default if first is None else first
    item = Field(path, conditions, shape, default, first, type(None) in kinds_of(info.annotation), sentence, None)
    common = {
        "label": name,
        "info": as_written(sentence),
        "interactive": True,
        "min_width": 220,
        "value": text_of(item, first),
    } | {key: value for key, value in changes.items() if key != "info"}
    if shape == "bool":
        item.widget = gr.Checkbox(**common)
    elif shape == "choice":
        item.widget = gr.Dropdown(choices, **common)
    else:
        item.widget = gr.Textbox(**{"lines": 3 if shape in {"lines", "yaml"} else 1} | common)
    return item
