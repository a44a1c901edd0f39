"""The sections of a long form: closed where nothing is out of the ordinary, open where something is, and found by their words."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .answers import ABSENT, Form, Section
from .fields import Field, label
from .nested import Draft, get


def heads(form: Form, draft: Draft) -> dict[Any, str]:
    """What stands at the head of each section: its title, and how many of its settings are not the default."""
    said = [item for item in form.active(draft) if get(draft, item.path, ABSENT) is not ABSENT and item.shape != "section"]
    return {section.box: _head(section, sum(section.has(item.path) for item in said)) for section in form.sections}


def shown(form: Form, draft: Draft, usual: Draft, problems: dict[str, str]) -> dict[Any, Any]:
    """Updates of the heads; a section opens where a field in it is other than in ``usual``, or wrong. The others stay as they are."""
    wanted = special(form, draft, usual, problems)
    return {box: gr.update(label=words, **({"open": True} if box in wanted else {})) for box, words in heads(form, draft).items()}


def special(form: Form, draft: Draft, usual: Draft, problems: dict[str, str]) -> set[Any]:
    """The sections with a field that is other than in ``usual``, or wrong."""
    paths = {owner.path for path in problems if (owner := form.owner(path, draft))}
    for item in form.active(draft):
        default = ABSENT if item.shape == "section" else item.default
        if get(draft, item.path, default) != get(usual, item.path, default):
            paths.add(item.path)
    return {section.box for section in form.sections if any(map(section.has, paths))}


def search(form: Form, text: str, draft: Draft, usual: Draft) -> tuple[dict[Any, Any], int]:
    """Updates that leave visible what has all the words, with its section open; and how many settings that are.

    Without words all is as it was. Of a choice that is not made, what decides it is shown.
    """
    words = text.lower().split()
    found = {item.path for item in form.fields if _has(item, words)} if words else set()
    there = {item.path for item in form.active(draft)}
    leading = {path for item in form.fields if item.path in found - there for path, _ in item.conditions}
    wanted = special(form, draft, usual, {})
    updates: dict[Any, Any] = {item.widget: gr.update(visible=not words or item.path in found | leading) for item in form.fields}
    updates |= {piece: gr.update(visible=not words) for piece in form.beside.values()}
    for section in form.sections:
        has_some = any(map(section.has, found))
        updates[section.box] = gr.update(visible=not words or has_some, open=has_some if words else section.box in wanted)
    return updates, len(found)


def _head(section: Section, number: int) -> str:
    return f"{section.title} · {number} set" if number else section.title


def _has(item: Field, words: list[str]) -> bool:
    text = f"{item.path} {label(item.path)} {item.help}".lower()
    return all(word in text for word in words)
