"""What is wrong with a job, one plain sentence for each key."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, ValidationError

SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "greater_than_equal": lambda c: f"must be at least {c['ge']:g}",
    "greater_than": lambda c: f"must be more than {c['gt']:g}",
    "less_than_equal": lambda c: f"must be at most {c['le']:g}",
    "less_than": lambda c: f"must be less than {c['lt']:g}",
    "literal_error": lambda c: f"must be {c['expected'].replace(chr(39), '')}",
    "union_tag_invalid": lambda c: f"must be {_either(c['expected_tags'])}",
    "string_type": lambda c: "must be text",
    "string_too_short": lambda c: "must not be empty",
    "string_too_long": lambda c: f"must have at most {c['max_length']} letters",
    "string_pattern_mismatch": lambda c: "may have letters, digits, spaces and . + - _ and begins with a letter or a digit",
    "too_short": lambda c: f"needs at least {c['min_length']} {'entry' if c['min_length'] == 1 else 'entries'}",
    "too_long": lambda c: f"may have at most {c['max_length']} entries",
}
"""Pydantic's type of error → what must be, from its context."""
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a section of keys",
    "model": "a section of keys",
    "finite": "a number",
}
"""First word of pydantic's type of error → what the value must be."""
_CONTAINERS = ("list_type", "dict_type", "model_type", "model_attributes_type")


def explain(model: type[BaseModel], error: ValidationError) -> dict[str, str]:
    """Dotted path of each wrong key → a sentence about it. Tags and branches of unions are left out of the path."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for item in error.errors(include_url=False):
        path, owner = _resolve(model, item["loc"])
        if item["type"].startswith("union_tag"):
            path = (*path, item["ctx"]["discriminator"].strip("'"))
        found.setdefault(path, []).append({**item, "owner": owner})
    sentences: dict[str, str] = {}
    for path, items in found.items():
        if any(len(other) > len(path) and other[: len(path)] == path for other in found):
            continue  # the branch of a union that was not meant: what is wrong inside the other one is told
        sentences[".".join(map(str, path))] = f"{place(path)} {_sentence(path, items)}"
    return sentences


def place(path: Iterable[Any]) -> str:
    """The path as a person writes it: datasets[0].path"""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def did_you_mean(name: str, names: Iterable[str]) -> str:
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"Known are: {', '.join(names)}."


def _sentence(path: tuple[Any, ...], items: list[dict[str, Any]]) -> str:
    item = items[0]
    if item["type"] == "extra_forbidden":
        return _extra(str(path[-1]), item["owner"])
    if item["type"] in ("missing", "union_tag_not_found"):
        return "is missing."
    value = item["input"]
    if item["type"] == "value_error":
        return f"is wrong: {item['ctx']['error']}"
    if item["type"].startswith("union_tag") and isinstance(value, Mapping):
        value = value.get(path[-1])
    said = list(dict.fromkeys(_must(item) for item in items if len(items) == 1 or item["type"] not in _CONTAINERS or value == {}))
    wanted = f"must be {' or '.join(text.removeprefix('must be ') for text in said)}" if len(said) > 1 else said[0]
    sentence = f"{wanted}; it is {_show(value)}."
    if item["type"] == "literal_error" and isinstance(value, str):
        near = difflib.get_close_matches(value, _quoted(item["ctx"]["expected"]), n=1, cutoff=0.6)
        sentence += f" Did you mean {near[0]}?" if near else ""
    if item["type"] == "string_type" and isinstance(value, (int, float)):
        sentence += " Put it in quotes."
    return sentence


def _must(item: dict[str, Any]) -> str:
    if item["type"] in SENTENCES:
        return SENTENCES[item["type"]](item.get("ctx", {}))
    if kind := KINDS.get(item["type"].split("_")[0]):
        return f"must be {kind}"
    return item["msg"][0].lower() + item["msg"][1:]


def _extra(key: str, owner: type[BaseModel] | None) -> str:
    names: list[str] = []
    for name, field in owner.model_fields.items() if owner else ():
        aliases = field.validation_alias
        if isinstance(aliases, AliasChoices) and key in aliases.choices:
            return f"says the same as {name}, which is given too: leave one of them out."
        names.append(name)
    return f"is not a known key. {did_you_mean(key, names)}"


def _resolve(model: type[BaseModel], location: tuple[Any, ...]) -> tuple[tuple[Any, ...], type[BaseModel] | None]:
    """The path without names of branches, and the model that should own its last part."""
    path: list[Any] = []
    owner: type[BaseModel] | None = model
    kinds: list[Any] = [model]  # what the value at this place may be
    for position, part in enumerate(location):
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        tagged = [kind for kind in models if part in _tags(kind)]
        field = next((field for kind in models if (field := _field(kind, part))), None)
        if isinstance(part, int):
            path.append(part)
            owner, kinds = None, [inner for kind in kinds if get_origin(kind) is list for inner in _choices(get_args(kind)[0])]
        elif field is not None:
            path.append(part)
            owner, kinds = models[0], _choices(field.annotation)
        elif tagged:
            owner, kinds = tagged[0], tagged
        elif models or (position == len(location) - 1 and not path):
            path.append(part)  # a key that nobody knows
            owner, kinds = next(iter(models), None), []
        # else the name that pydantic gives to a branch of a union
    return tuple(path), owner


def _field(model: type[BaseModel], name: Any) -> Any:
    for own, field in model.model_fields.items():
        aliases = field.validation_alias
        if name == own or (isinstance(aliases, AliasChoices) and name in aliases.choices):
            return field
    return None


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field else ()


def _choices(annotation: Any) -> list[Any]:
    """The members of a union, of unions inside it too; anything else stands for itself."""
    if get_origin(annotation) is Annotated:
        return _choices(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _choices(part)]
    return [annotation]


def _quoted(expected: str) -> list[str]:
    return [word.strip(" '") for word in expected.replace(" or ", ", ").split(",")]


def _either(expected: str) -> str:
    names = _quoted(expected)
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a section of keys"
    if value is None or value == "":
        return "empty"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
