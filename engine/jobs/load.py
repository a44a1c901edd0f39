"""Jobs from YAML and back. Every fault is found here, with its place and the nearest right name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import JobError
from .base import Job
from .compat import unwrap
from .generate import GenerateJob
from .train import TrainJob
from .vae import VaeJob

KINDS: dict[str, type[Job]] = {"train": TrainJob, "generate": GenerateJob, "vae": VaeJob}


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-4 is a number (YAML 1.2), where PyYAML's rules of 1.1 read a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(text: str, where: str = "The job") -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise JobError(f"{where} is not valid YAML{line}: {getattr(error, 'problem', error)}.", "Check quotes and indentation there.") from error


def load_job(source: str | Path | Mapping[str, Any]) -> Job:
    """A validated job from a YAML file or a mapping; the wrapped form of AI Toolkit is unwrapped first."""
    if isinstance(source, Mapping):
        data: Any = dict(source)
        where = "The job"
    else:
        path = Path(source)
        where = path.name
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise JobError(f"There is no file {path}.", "Check the path; presets are in presets/train.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise JobError(f"{path} cannot be read: {error}.", "A job is a YAML file in UTF-8.") from error
        data = read_yaml(text, where)
    if not isinstance(data, Mapping):
        raise JobError(f"{where} is not a job.", "A job is YAML with at least kind, name and model.")
    data = unwrap(data)
    kind = data.get("kind", "train")
    if kind not in KINDS:
        raise JobError(f"{where} is of kind {kind!r}, which is not known.", _did_you_mean(str(kind), KINDS))
    try:
        return KINDS[kind].model_validate({**data, "kind": kind})
    except ValidationError as error:
        raise JobError(f"{where}: " + " ".join(explain(KINDS[kind], error).values()), "See docs/jobs.md for every key.") from error


def dump_job(job: Job, defaults: bool = False) -> str:
    """YAML without the defaults, which is what a preset is; or with all of them, which is what a run keeps."""
    data = job.model_dump(mode="json", exclude_defaults=not defaults)
    return yaml.safe_dump({"kind": job.kind, **data}, sort_keys=False, allow_unicode=True, width=100)


def explain(model: type[BaseModel], error: ValidationError) -> dict[str, str]:
    """Dotted path of each wrong key → a sentence about it. Tags of unions are left out of the path."""
    sentences: dict[str, str] = {}
    for item in error.errors():
        path, owner = _resolve(model, item["loc"])
        key = path.rsplit(".", 1)[-1]
        if item["type"] == "extra_forbidden":
            names = list(owner.model_fields) if owner else []
            sentences[path] = f"{path} is not a known key. {_did_you_mean(key, names)}".strip()
        elif item["type"] == "missing":
            sentences[path] = f"{path} is missing."
        else:
            message = item["msg"][0].lower() + item["msg"][1:]
            sentences[path] = f"{path}: {message}; it is {item['input']!r}."
    return sentences


def _resolve(model: type[BaseModel], location: tuple[Any, ...]) -> tuple[str, type[BaseModel] | None]:
    """The path as a person writes it, and the model that should own its last part."""
    parts: list[str] = []
    owner: type[BaseModel] | None = model
    choices: list[type[BaseModel]] = []
    for position, part in enumerate(location):
        tagged = [m for m in choices if part in _tags(m)]
        if tagged:
            owner, choices = tagged[0], []
            continue
        if choices and not isinstance(part, int):
            owner, choices = choices[0], []
        if isinstance(part, str) and parts and not position == len(location) - 1 and "[" in part:
            continue  # pydantic names the branch of a plain union here
        parts.append(str(part))
        if owner and part in owner.model_fields:
            choices = list(_models(owner.model_fields[part].annotation))
    return ".".join(parts), owner


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field else ()


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _did_you_mean(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"Known are: {', '.join(names)}."
