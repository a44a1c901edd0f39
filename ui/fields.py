"""One setting of a pydantic model and its widget's value: what shape it has, how it is written there and read back. No Gradio.

Numbers are text: 1e-4 stays as it was written. A line break inside a line of a list is written as ↵.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine.errors import JobError
from engine.jobs import read_yaml
from engine.jobs.explain import place

WORDS = {
    "lr": "learning rate",
    "ext": "ending",
    "neg": "negative prompt",
    "num": "number of",
    "dtype": "precision",
    "ema": "EMA",
    "vae": "VAE",
    "cfg": "CFG",
    "img": "picture",
    "init": "first",
    "snr": "SNR",
    "fft": "FFT",
    "clip": "CLIP",
    "dino": "DINO",
    "lora": "LoRA",
    "te": "text encoders",
    "unet": "denoiser",
    "qtype": "quantization",
    "kwargs": "settings",
    "fps": "frames a second",
}
"""Words of field names that are not words."""
BREAK = "↵"


@dataclass
class Field:
    """One setting and its widget."""

    path: str
    """As it stands in YAML: train.lr, datasets.0.resolution."""
    conditions: tuple[tuple[str, Any], ...]
    """(path, value) of the choices that it belongs to: (("network.type", "lora"),)."""
    shape: str
    """bool, choice, section, number, text, lines, numbers or yaml: how the widget's value is written. A section is there or not."""
    default: Any
    """What it is where its section leaves it out."""
    first: Any
    """What it is where the whole section is left out."""
    optional: bool
    help: str
    widget: Any


def text_of(item: Field, value: Any) -> Any:
    """The value as the widget shows it."""
    if item.shape == "section":
        return value is not None
    if item.shape == "bool":
        return bool(value)
    if item.shape == "choice":
        return value
    if value is None or value == [] or value == {}:
        return ""
    if item.shape == "lines" and isinstance(value, list):
        return "\n".join(re.sub(r"\r\n?|\n", BREAK, str(line)) for line in value)
    if item.shape == "numbers" and isinstance(value, list):
        return ", ".join(map(str, value))
    if item.shape == "yaml" and not isinstance(value, str):
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).strip()
    # 1e-05 and not 0.00001, 2 and not 2.0, but never rounded
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def parse(item: Field, value: Any) -> Any:
    """What the widget holds, as it would stand in YAML. What cannot be read stays text, and validation says so."""
    if item.shape in {"bool", "choice"}:
        return value
    text = str(value if value is not None else "").strip()
    if item.shape == "lines":
        return [line.strip().replace(BREAK, "\n") for line in text.splitlines() if line.strip()]
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


def shape_of(annotation: Any, choices: list[Any]) -> str:
    kinds = kinds_of(annotation)
    if choices:
        return "choice"
    if bool in kinds:
        return "bool"
    lists = [kind for kind in kinds if get_origin(kind) is list]
    inner = [get_origin(kind) for one in lists for kind in kinds_of(get_args(one)[0])]
    if any(models_of(kind) for kind in lists) or dict in [get_origin(kind) for kind in kinds] or list in inner:
        return "yaml"
    if lists:
        return "lines" if str in kinds_of(get_args(lists[0])[0]) else "numbers"
    return "number" if {int, float} & set(kinds) else "text"


def choices_of(annotation: Any) -> list[Any]:
    """The words that the value may be, where it may be nothing else."""
    kinds = kinds_of(annotation)
    if bool in kinds and type(None) in kinds:  # left out is an answer of its own
        return [("", None), ("yes", True), ("no", False)]
    return [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]


def is_part(info: FieldInfo) -> bool:
    """Whether the field gets a section: a model, a choice of models, or a list of models that may not be empty."""
    if get_origin(info.annotation) is list:
        return bool(models_of(info.annotation)) and info.is_required()
    return bool(models_of(info.annotation)) and get_origin(info.annotation) is not dict


def kinds_of(annotation: Any) -> list[Any]:
    """The types that a value may have, with Annotated and unions taken apart."""
    if get_origin(annotation) is Annotated:
        return kinds_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in kinds_of(part)]
    return [annotation]


def models_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_of(part)]


def tag_of(info: FieldInfo) -> str:
    """The key that says which of several models it is."""
    inside = [
        item for part in (info.annotation, *get_args(info.annotation)) if get_origin(part) is Annotated for item in get_args(part)[1:]
    ]
    found = [item.discriminator for item in (info, *inside) if isinstance(item, FieldInfo) and item.discriminator]
    return str(found[0])


def plain(sentence: str, path: str) -> str:
    """The sentence without the field's own path in front of it, shown as it is written."""
    own = place(int(part) if part.isdigit() else part for part in path.split("."))
    words = sentence.removeprefix(f"{own} ")
    return as_written(words[:1].upper() + words[1:])


def as_written(sentence: str) -> str:
    """The sentence for the line beside a label, where Gradio escapes HTML and reads a Markdown that has no escapes of its own:
    an invisible sign behind each mark keeps the marks apart from what they would mark."""
    return re.sub(r"([*_`\[\]!])", "\\1\u2060", sentence)


def label(path: str) -> str:
    """The last part of a path in words."""
    words = " ".join(WORDS.get(word, word) for word in path.rsplit(".", 1)[-1].split("_"))
    return words[:1].upper() + words[1:]
