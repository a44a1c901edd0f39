"""A Gradio form made from a pydantic model: one widget a field, keyed by its dotted path. It knows no job and no model family.

A job being typed is a *draft*: nested plain data as it would stand in YAML, right or wrong. The form shows a draft and is read back into
one; what equals the default is left out, so that a draft stays a short YAML. Numbers are text fields: 1e-4 stays as it was written.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import gradio as gr
import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from engine.errors import JobError
from engine.jobs import explain, read_yaml
from engine.jobs.explain import place

Draft = dict[str, Any]
WORDS = {
    "lr": "learning rate",
    "ext": "ending",
    "neg": "negative prompt",
    "num": "number of",
    "dtype": "precision",
    "ema": "EMA",
    "vae": "VAE",
    "lora": "LoRA",
    "te": "text encoders",
    "unet": "denoiser",
    "qtype": "quantization",
    "kwargs": "settings",
    "fps": "frames a second",
}
"""Words of field names that are not words."""


@dataclass
class Field:
    """One setting and its widget."""

    path: str
    """As it stands in YAML: train.lr, datasets.0.resolution."""
    variant: tuple[str, str] | None
    """(path, value) of the choice that it belongs to: ("network.type", "lora")."""
    shape: str
    """bool, choice, number, text, lines, numbers or yaml: how the widget's value is written."""
    default: Any
    optional: bool
    help: str
    widget: Any


@dataclass
class Form:
    """The widgets of a model."""

    fields: list[Field] = field(default_factory=list)
    sections: list[tuple[str, Any]] = field(default_factory=list)
    """(all words in it, its accordion), for the search."""
    choices: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)
    """Path of a choice → (value, group of widgets)."""

    @property
    def widgets(self) -> list[gr.components.Component]:
        return [item.widget for item in self.fields]

    def read(self, values: dict[Any, Any], draft: Draft) -> Draft:
        """The draft with what the widgets hold in it. Keys that have no widget stay."""
        result = copy.deepcopy(draft)
        chosen = {item.path: values[item.widget] for item in self.fields if item.path in self.choices}
        for path, now in chosen.items():
            if now != self._choice(path, draft):
                _put(
                    result, path.rpartition(".")[0], {}
                )  # another kind: settings of the former one do not apply
        for item in self.fields:
            if item.variant and chosen[item.variant[0]] != item.variant[1]:
                continue
            value = _parse(item, values[item.widget])
            if value == item.default and isinstance(value, bool) == isinstance(item.default, bool):
                _drop(result, item.path)
            else:
                _put(result, item.path, value)
        for path, value in chosen.items():  # a section says which one it is, default or not
            section, _, key = path.rpartition(".")
            if settings := _get(result, section, None):
                _put(result, section, {key: value, **settings})
        return result

    def show(self, draft: Draft, problems: dict[str, str]) -> dict[Any, Any]:
        """Updates that put the draft into the widgets, and each problem beside its field."""
        updates: dict[Any, Any] = {}
        wrong = self._wrong(problems, draft)
        for item in self.fields:
            value = _get(draft, item.path, item.default)
            updates[item.widget] = gr.update(value=_text(item, value), **_told(item, wrong.get(item.path)))
        for path, options in self.choices.items():
            now = self._choice(path, draft)
            updates |= {group: gr.update(visible=value == now) for value, group in options}
        return updates

    def mark(self, problems: dict[str, str], before: dict[str, str], draft: Draft) -> dict[Any, Any]:
        """Updates that put each problem beside its field, and take away those of ``before`` that are mended. What is typed stays."""
        now, then = self._wrong(problems, draft), self._wrong(before, draft)
        changed = [item for item in self.fields if now.get(item.path) != then.get(item.path)]
        return {item.widget: gr.update(**_told(item, now.get(item.path))) for item in changed}

    def _wrong(self, problems: dict[str, str], draft: Draft) -> dict[str, str]:
        owners = ((self.owner(path, draft), sentence) for path, sentence in problems.items())
        return {owner.path: sentence for owner, sentence in owners if owner}

    def _choice(self, path: str, draft: Draft) -> Any:
        return _get(draft, path, next(item.default for item in self.fields if item.path == path))

    def owner(self, path: str, draft: Draft) -> Field | None:
        """The field that an error at ``path`` is about: the one whose path is the longest beginning of it."""
        fits = [
            item
            for item in self.fields
            if (path == item.path or path.startswith(f"{item.path}."))
            and (item.variant is None or _get(draft, item.variant[0], item.variant[1]) == item.variant[1])
        ]
        return max(fits, key=lambda item: len(item.path), default=None)

    def search(self, text: str) -> dict[Any, Any]:
        """Updates that leave visible what has all the words."""
        wanted = text.lower().split()
        updates: dict[Any, Any] = {
            item.widget: gr.update(
                visible=all(word in f"{item.path} {label(item.path)} {item.help}".lower() for word in wanted)
            )
            for item in self.fields
        }
        return updates | {
            section: gr.update(visible=all(word in words for word in wanted))
            for words, section in self.sections
        }


def _told(item: Field, problem: str | None) -> dict[str, Any]:
    """The sentence under a widget: its help, or what is wrong with it."""
    return (
        {"info": plain(problem, item.path), "elem_classes": ["wrong"]}
        if problem
        else {"info": item.help, "elem_classes": []}
    )


def build(model: type[BaseModel], titles: dict[str, str], skip: frozenset[str] = frozenset()) -> Form:
    """The form of a model: plain fields first, then a section for each part of it. ``titles`` names the sections by path."""
    form = Form()
    _section(form, model, "", titles, skip, None)
    return form


def pick(model: type[BaseModel], chosen: dict[str, dict[str, Any]]) -> Form:
    """A form of a few fields by their paths, made where it is called; each with what its widget says other than usual."""
    form = Form()
    for path, changes in chosen.items():
        info = _find(model, path.split("."))
        form.fields.append(_field(path, info, None, changes))
    return form


def _find(model: type[BaseModel], parts: list[str]) -> FieldInfo:
    name, *rest = (part for part in parts if not part.isdigit())
    info = model.model_fields[name]
    if not rest:
        return info
    return next(_find(inner, rest) for inner in _models(info.annotation) if rest[0] in inner.model_fields)


def _section(
    form: Form,
    model: type[BaseModel],
    prefix: str,
    titles: dict[str, str],
    skip: frozenset[str],
    variant: tuple[str, str] | None,
) -> None:
    plain_ones: list[tuple[str, FieldInfo]] = []
    parts: list[tuple[str, FieldInfo]] = []
    for name, info in model.model_fields.items():
        path = f"{prefix}{name}"
        if (
            path in skip
            or name == "version"
            or (get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1)
        ):
            continue
        (parts if _part(info) else plain_ones).append((path, info))
    if plain_ones:
        with gr.Row(elem_classes="fields"):
            form.fields += [_field(path, info, variant) for path, info in plain_ones]
    for path, info in parts:
        before = len(form.fields)
        with gr.Accordion(titles.get(path, label(path)), open=True) as section:
            _fill(form, path, info, titles, skip)
        words = " ".join(f"{item.path} {label(item.path)} {item.help}" for item in form.fields[before:])
        form.sections.append((f"{titles.get(path, '')} {words}".lower(), section))


def _fill(form: Form, path: str, info: FieldInfo, titles: dict[str, str], skip: frozenset[str]) -> None:
    models = _models(info.annotation)
    if get_origin(info.annotation) is list:  # of a list, the first is shown; YAML has them all
        _section(form, models[0], f"{path}.0.", titles, skip, None)
    elif len(models) == 1:
        _section(form, models[0], f"{path}.", titles, skip, None)
    else:
        tag = str(info.discriminator)
        names = [model.model_fields[tag].default for model in models]
        default = getattr(info.get_default(call_default_factory=True), tag)
        with gr.Row(elem_classes="fields"):
            choice = gr.Dropdown(
                names, value=default, label=label(tag), info=info.description, interactive=True, min_width=220
            )
        form.fields.append(
            Field(f"{path}.{tag}", None, "choice", default, False, info.description or "", choice)
        )
        groups = []
        for name, model in zip(names, models, strict=True):
            with gr.Column(visible=name == default) as group:
                _section(form, model, f"{path}.", titles, skip, (f"{path}.{tag}", name))
            groups.append((name, group))
        form.choices[f"{path}.{tag}"] = groups
        choice.change(
            lambda now: [gr.update(visible=name == now) for name, _ in groups],
            choice,
            [group for _, group in groups],
            show_progress="hidden",
        )


def _field(
    path: str, info: FieldInfo, variant: tuple[str, str] | None, changes: dict[str, Any] | None = None
) -> Field:
    """The widget for one plain field, with its default in it."""
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        default = default.model_dump(mode="json", exclude_defaults=True)
    changes, kinds = changes or {}, _kinds(info.annotation)
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if bool in kinds and type(None) in kinds:  # left out is an answer of its own
        choices = [("", None), ("yes", True), ("no", False)]
    name, shape = label(path), _shape(kinds, choices)
    sentence = changes.get("info", (info.description or "").removeprefix(f"{name}: "))
    sentence = sentence[:1].upper() + sentence[1:]
    item = Field(path, variant, shape, default, type(None) in kinds, sentence, None)
    common = {
        "label": name,
        "info": sentence,
        "interactive": True,
        "min_width": 220,
        "value": _text(item, default),
    } | changes
    if shape == "bool":
        item.widget = gr.Checkbox(**common)
    elif shape == "choice":
        item.widget = gr.Dropdown(choices, **common)
    else:
        item.widget = gr.Textbox(**{"lines": 3 if shape in {"lines", "yaml"} else 1} | common)
    return item


def _shape(kinds: list[Any], choices: list[Any]) -> str:
    if choices:
        return "choice"
    if bool in kinds:
        return "bool"
    lists = [kind for kind in kinds if get_origin(kind) is list]
    inner = [get_origin(kind) for one in lists for kind in _kinds(get_args(one)[0])]
    if any(_models(kind) for kind in lists) or dict in [get_origin(kind) for kind in kinds] or list in inner:
        return "yaml"
    if lists:
        return "lines" if str in _kinds(get_args(lists[0])[0]) else "numbers"
    return "number" if {int, float} & set(kinds) else "text"


def _text(item: Field, value: Any) -> Any:
    """The value as the widget shows it."""
    if item.shape == "bool":
        return bool(value)
    if item.shape == "choice":
        return value
    if value is None or value == [] or value == {}:
        return ""
    if item.shape == "lines" and isinstance(value, list):
        return "\n".join(map(str, value))
    if item.shape == "numbers" and isinstance(value, list):
        return ", ".join(map(str, value))
    if item.shape == "yaml" and not isinstance(value, str):
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).strip()
    # 1e-05 and not 0.00001, 2 and not 2.0, but never rounded
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _parse(item: Field, value: Any) -> Any:
    """What the widget holds, as it would stand in YAML. What cannot be read stays text, and validation says so."""
    if item.shape in {"bool", "choice"}:
        return value
    text = str(value if value is not None else "").strip()
    if item.shape == "lines":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if not text:
        return [] if isinstance(item.default, list) else None if item.optional else item.default
    if item.shape == "text":
        return text
    if item.shape == "numbers":
        numbers = [_number(part.strip()) for part in text.split(",") if part.strip()]
        return numbers[0] if len(numbers) == 1 else numbers
    if item.shape == "yaml":
        try:
            return read_yaml(text)
        except JobError:
            return text
    return _number(text)


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check(model: type[BaseModel], draft: Draft) -> tuple[Any, dict[str, str]]:
    """The validated model and no problems, or None and a sentence for each wrong path."""
    try:
        return model.model_validate(draft), {}
    except ValidationError as error:
        return None, explain(model, error)


def plain(sentence: str, path: str) -> str:
    """The sentence without the field's own path in front of it, shown as it is written.

    Gradio escapes HTML in the line under a label, and reads a Markdown there that has no escapes of its own: an invisible
    sign behind each mark keeps the marks apart from what they would mark.
    """
    own = place(int(part) if part.isdigit() else part for part in path.split("."))
    words = sentence.removeprefix(f"{own} ")
    return re.sub(r"([*_`\[\]!])", "\\1\u2060", words[:1].upper() + words[1:])


def label(path: str) -> str:
    """The last part of a path in words."""
    words = " ".join(WORDS.get(word, word) for word in path.rsplit(".", 1)[-1].split("_"))
    return words[:1].upper() + words[1:]


def _get(draft: Draft, path: str, default: Any) -> Any:
    value: Any = draft
    for part in path.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return default
    return value


def _put(draft: Draft, path: str, value: Any) -> None:
    *parts, last = path.split(".")
    place: Any = draft
    for part, following in zip(parts, [*parts, last][1:], strict=True):
        empty: Any = [] if following.isdigit() else {}
        if isinstance(place, list):
            while len(place) <= int(part):
                place.append({})
            place = place[int(part)]
        else:
            if not isinstance(place.get(part), dict | list):
                place[part] = empty
            place = place[part]
    if isinstance(place, list):
        place[int(last) : int(last) + 1] = [value]
    else:
        place[last] = value


def _drop(draft: Draft, path: str) -> None:
    """Takes the path out, and what is empty without it."""
    parts = path.split(".")
    owner = _get(draft, ".".join(parts[:-1]), None) if len(parts) > 1 else draft
    if isinstance(owner, dict) and parts[-1] in owner:
        del owner[parts[-1]]
        if not owner and len(parts) > 1 and not parts[-2].isdigit():
            _drop(draft, ".".join(parts[:-1]))


get, put, drop = _get, _put, _drop


def _part(info: FieldInfo) -> bool:
    """Whether the field gets a section: a model, a choice of models, or a list of models that may not be empty."""
    if get_origin(info.annotation) is list:
        return bool(_models(info.annotation)) and info.is_required()
    return bool(_models(info.annotation)) and get_origin(info.annotation) is not dict


def _kinds(annotation: Any) -> list[Any]:
    """The types that a value may have, with Annotated and unions taken apart."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in _kinds(part)]
    return [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
