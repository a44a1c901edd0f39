"""What is answered in a form: a draft is shown in its widgets and read back from them, and each problem stands beside its field.

A job being typed is a *draft*: nested plain data as it would stand in YAML, right or wrong. What equals the default is left
out, so that a draft stays a short YAML.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from pydantic import BaseModel, ValidationError

from engine.jobs import explain

from .fields import Field, as_written, parse, plain, text_of
from .nested import Draft, drop, get, put

ABSENT = object()


@dataclass(frozen=True)
class Section:
    """A part of a form that can be folded."""

    path: str
    title: str
    box: Any
    """Its accordion."""

    def has(self, path: str) -> bool:
        """Whether a field stands in it."""
        return path == self.path or path.startswith(f"{self.path}.")


@dataclass
class Form:
    """The widgets of a model."""

    model: type[BaseModel] | None = None
    fields: list[Field] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    """Those inside another one come before it."""
    choices: dict[str, list[tuple[Any, Any]]] = field(default_factory=dict)
    """Path of a choice, or of a section that may be left out → (value, group of widgets)."""
    beside: dict[str, Any] = field(default_factory=dict)
    """Path of a field → what stands behind it."""

    @property
    def widgets(self) -> list[gr.components.Component]:
        return [item.widget for item in self.fields]

    @property
    def groups(self) -> list[Any]:
        return [group for options in self.choices.values() for _, group in options]

    def read(self, values: dict[Any, Any], draft: Draft) -> Draft:
        """The draft with what the widgets hold in it. Keys that have no widget stay."""
        result = copy.deepcopy(draft)
        before = self._chosen(draft)
        chosen = self._now(values)
        for item in self._active(chosen):
            if item.path in self.choices and chosen[item.path] != before.get(item.path, ABSENT):
                self._choose(result, item, chosen[item.path])  # another kind: settings of the former one do not apply
        for item in self._active(chosen):
            if item.shape == "section":
                continue
            value = parse(item, values[item.widget])
            known = get(result, item.path, ABSENT)
            if known is not ABSENT and known != item.default and text_of(item, known) == values[item.widget]:
                continue  # as it was: the widget need not show all of it, such as an empty text that is no missing one
            said = item.path in self.choices and get(result, item.path, ABSENT) is not ABSENT
            if value == item.default and isinstance(value, bool) == isinstance(item.default, bool) and not said:
                drop(result, item.path)
            elif item.path not in self.choices:
                put(result, item.path, value)
        for item in self._active(chosen):
            if item.path in self.choices:
                self._name(result, item, chosen[item.path])
        return result

    def show(self, draft: Draft, problems: dict[str, str], values: dict[Any, Any] | None = None) -> dict[Any, Any]:
        """Updates that put the draft into the widgets, and each problem beside its field.

        ``values`` is what the widgets hold: what is so already is not sent, for an answer may come when the next letters are typed.
        """
        updates: dict[Any, Any] = {}
        wrong, chosen = self._wrong(problems, draft), self._chosen(draft)
        for item in self.fields:
            section = item.path.rpartition(".")[0]
            left_out = item.first if section and get(draft, section, None) is None else item.default
            value = chosen[item.path] if item.path in chosen else text_of(item, get(draft, item.path, left_out))
            is_so = values is not None and item.widget in values and values[item.widget] == value
            updates[item.widget] = gr.update(**({} if is_so else {"value": value}), **_told(item, wrong.get(item.path)))
        return updates | self._opened(chosen)

    def follow(self, values: dict[Any, Any], draft: Draft) -> dict[Any, Any]:
        """Updates of the choices that follow from other answers, and that nobody has made."""
        now, chosen = self._now(values), self._chosen(draft)
        moved = [item for item in self.fields if item.path in chosen and chosen[item.path] != now.get(item.path)]
        return {item.widget: gr.update(value=chosen[item.path]) for item in moved} | (self._opened(chosen) if moved else {})

    def mark(self, problems: dict[str, str], before: dict[str, str], draft: Draft) -> dict[Any, Any]:
        """Updates that put each problem beside its field, and take away those of ``before`` that are mended. What is typed stays."""
        now, then = self._wrong(problems, draft), self._wrong(before, draft)
        changed = [item for item in self.fields if now.get(item.path) != then.get(item.path)]
        return {item.widget: gr.update(**_told(item, now.get(item.path))) for item in changed}

    def owner(self, path: str, draft: Draft) -> Field | None:
        """The field that an error at ``path`` is about: the one whose path is the longest beginning of it."""
        fits = [item for item in self.active(draft) if path == item.path or path.startswith(f"{item.path}.")]
        return max(fits, key=lambda item: len(item.path), default=None)

    def active(self, draft: Draft) -> list[Field]:
        """The fields that belong to what is chosen in a draft."""
        return self._active(self._chosen(draft))

    def _wrong(self, problems: dict[str, str], draft: Draft) -> dict[str, str]:
        owners = ((self.owner(path, draft), sentence) for path, sentence in problems.items())
        return {owner.path: sentence for owner, sentence in owners if owner}

    def _now(self, values: dict[Any, Any]) -> dict[str, Any]:
        return {item.path: values[item.widget] for item in self.fields if item.path in self.choices}

    def _active(self, chosen: dict[str, Any]) -> list[Field]:
        """The fields that belong to what is chosen."""
        return [item for item in self.fields if all(chosen.get(path) == value for path, value in item.conditions)]

    def _chosen(self, draft: Draft) -> dict[str, Any]:
        """Path of each choice → what the draft says there; what it does not say follows from the rest of it, else it is the default."""
        choices = [item for item in self.fields if item.path in self.choices]
        said = {item.path: get(draft, item.path, ABSENT) for item in choices}
        whole: dict[str, Any] = {}
        if self.model and any(value is ABSENT for value in said.values()):
            job, _ = check(self.model, draft)
            whole = job.model_dump(mode="json") if job else {}
        result = {}
        for item in choices:
            value = get(whole, item.path, item.default) if said[item.path] is ABSENT else said[item.path]
            result[item.path] = text_of(item, value)
        return result

    def _opened(self, chosen: dict[str, Any]) -> dict[Any, Any]:
        return {group: gr.update(visible=value == chosen[path]) for path, options in self.choices.items() for value, group in options}

    def _choose(self, result: Draft, item: Field, value: Any) -> None:
        section = item.path if item.shape == "section" else item.path.rpartition(".")[0]
        if value in (None, False):
            drop(result, section)
        else:
            put(result, section, {} if item.shape == "section" else {item.path.rpartition(".")[2]: value})

    def _name(self, result: Draft, item: Field, value: Any) -> None:
        """A section says which one it is, default or not."""
        if item.shape == "section":
            if value and get(result, item.path, None) is None:
                put(result, item.path, {})
            return
        section, _, key = item.path.rpartition(".")
        settings = get(result, section, None) or {}
        if value is not None and (settings or item.optional):
            put(result, section, {key: value, **{name: one for name, one in settings.items() if name != key}})


def _told(item: Field, problem: str | None) -> dict[str, Any]:
    """The sentence under a widget: its help, or what is wrong with it."""
    return (
        {"info": plain(problem, item.path), "elem_classes": ["wrong"]} if problem else {"info": as_written(item.help), "elem_classes": []}
    )


def check(model: type[BaseModel], draft: Draft) -> tuple[Any, dict[str, str]]:
    """The validated model and no problems, or None and a sentence for each wrong path."""
    try:
        return model.model_validate(draft), {}
    except ValidationError as error:
        return None, explain(model, error)
