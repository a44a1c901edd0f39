"""Pages of docs that are made from the program: every key of every job with its sentence, and every family and base model."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .families.catalog import BASES, FAMILIES, BaseInfo
from .jobs import KINDS, load_job
from .settings import ROOT

HEAD = """# Every key of every job

<!-- Made from engine/jobs by `./launch.sh docs`. Change the sentences there. -->

A job is a YAML file. What is left out takes its default, so that a job says only what is special about it: see
[presets/train](../presets/train). A key that is not known is an error. AI Toolkit's files are read as they are, and what of them
has no effect here is said.

    kind: train
    name: my-cat
    trigger_word: zqcat
    model: {name_or_path: black-forest-labs/FLUX.1-dev}
    datasets:
      - path: ~/pictures/cat

`./launch.sh check JOB` looks for mistakes, `./launch.sh run JOB` does it.
"""


MODELS = """# Families and base models

<!-- Made from engine/families by `./launch.sh docs`. Change the rows there. -->

A family is an architecture; `model.arch` names it where it does not follow from the model's own files. Any model of a family can be
trained, by its hub id, its folder in diffusers layout, or a single `.safetensors` file; the base models below are those that the app
offers, with numbers that suit them. Memory is that of the smallest card for which a preset is made. Every family passes the same tests
(`tests/engine/families`): its prediction is the stock pipeline's, and its files are read by the stock pipeline.
"""


def write_reference() -> list[Path]:
    for path, page in PAGES.items():
        path.write_text(page(), encoding="utf-8")
    return list(PAGES)


def models() -> str:
    """The page of families and base models."""
    families = ["| `model.arch` | | makes | also named |", "|---|---|---|---|"]
    for info in FAMILIES.values():
        note = " (experimental)" if info.experimental else ""
        families.append(f"| `{info.name}` | {info.title}{note} | {info.task} | {' '.join(f'`{name}`' for name in info.arch_names)} |")
    bases = [
        "| base model | `model.name_or_path` | family | parameters | download | card | licence | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cards = _cards()
    for base in BASES:
        size = f"{base.size_gb:.0f} GB" if base.size_gb >= 1 else f"{base.size_gb * 1000:.0f} MB"
        parameters = f"{base.parameters:.1f} B" if base.parameters >= 0.1 else f"{base.parameters * 1000:.0f} M"
        card = f"{cards[base.name_or_path]} GB" if base.name_or_path in cards else "none"
        cells = (base.title, f"`{base.name_or_path}`", f"`{base.family}`", parameters, size, card, base.licence, "; ".join(_remarks(base)))
        bases.append(f"| {' | '.join(cells)} |")
    return "\n".join([MODELS, "## Families\n", *families, "\n## Base models\n", *bases, ""])


def _remarks(base: BaseInfo) -> Iterator[str]:
    if base.gated:
        yield "its page must be accepted"
    if base.needs:
        yield f"needs a {base.needs} with each picture"
    if base.adapter:
        yield f"trained with `{base.adapter}`"
    if base.sampled_on:
        yield f"its LoRAs are made for `{base.sampled_on}`"


def _cards() -> dict[str, int]:
    """Base model → GB of the smallest card that a preset is made for."""
    cards: dict[str, int] = {}
    for path in sorted((ROOT / "presets" / "train").glob("*gb.yaml")):
        model = getattr(load_job(path), "model").name_or_path  # noqa: B009 - every train job has one
        size = int(path.stem.rpartition("_")[2].removesuffix("gb"))
        cards[model] = min(size, cards.get(model, size))
    return cards


def reference() -> str:
    """The page of keys."""
    return HEAD + "".join(f"\n## kind: {kind}\n\n{model.__doc__}\n{_table(model, kind)}" for kind, model in KINDS.items())


def _table(model: type[BaseModel], kind: str) -> str:
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    rows += [
        f"| `{path}` | {_value(field)} | {_default(field)} | {(field.description or '').replace(chr(10), ' ')}{_aliases(field)} |"
        for path, field in _fields(model, "")
        if path != "kind"
    ]
    return "\n" + "\n".join(rows) + "\n"


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    """Every key below the model, in order; a section comes before its keys."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        models = _models(field.annotation)
        if not models:
            yield path, field
        elif len(models) == 1 and get_origin(field.annotation) is not list:
            yield from _fields(models[0], f"{path}.")
        else:
            inner = f"{path}[]" if get_origin(field.annotation) is list else path
            yield path, field
            shown: set[str] = set()
            for one in models:
                for below, its in _fields(one, f"{inner}."):
                    if below not in shown and not below.endswith(".type"):
                        shown.add(below)
                        yield below, its


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _value(field: FieldInfo) -> str:
    models = _models(field.annotation)
    if len(models) > 1:
        tags = [f"`{get_args(model.model_fields['type'].annotation)[0]}`" for model in models]
        return f"section with `type`: {' or '.join(tags)}"
    if models:
        return "list of sections"
    return ", ".join([_type(field.annotation), *_limits(field.metadata)])


def _type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [limit for item in parts[1:] if isinstance(item, FieldInfo) for limit in _limits(item.metadata)]
        return ", ".join([_type(parts[0]), *limits])
    if origin is Literal:
        return " ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in parts if part is not type(None))
    if origin is list:
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return "section"
    return {int: "whole number", float: "number", bool: "true or false", str: "text"}.get(annotation, "any")


def _limits(metadata: list[Any]) -> list[str]:
    signs = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
    return [
        f"{sign} {int(limit) if limit == int(limit) else limit:,}"
        for item in metadata
        for name, sign in signs
        if (limit := getattr(item, name, None)) is not None
    ]


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined and field.default_factory is None:
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"`{getattr(value, 'type', '')}`"
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _aliases(field: FieldInfo) -> str:
    if not isinstance(field.validation_alias, AliasChoices):
        return ""
    return f" Also named {', '.join(f'`{name}`' for name in field.validation_alias.choices[1:])}."


def noise_levels() -> str:
    """The picture of noise levels."""
    from .training.curves import noise_levels as drawn  # loads torch

    return drawn()


PAGES: dict[Path, Callable[[], str]] = {
    ROOT / "docs" / "jobs.md": reference,
    ROOT / "docs" / "models.md": models,
    ROOT / "docs" / "images" / "noise_levels.svg": noise_levels,
}
