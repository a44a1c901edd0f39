"""Jobs from YAML and back. Every fault is found here, with its place and the nearest right name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ..errors import JobError
from ..events import Warned
from .base import Job
from .compat import unwrap
from .explain import did_you_mean, explain
from .generate import GenerateJob
from .tools import JOBS
from .train import TrainJob
from .vae import VaeJob

KINDS: dict[str, type[Job]] = {
    "train": TrainJob,
    "generate": GenerateJob,
    "vae": VaeJob,
    **{job.model_fields["kind"].default: job for job in JOBS},
}


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-4 is a number (YAML 1.2), where PyYAML's rules of 1.1 read a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(text: str, where: str = "The job") -> Any:
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise JobError(
            f"{where} is not valid YAML{line}: {getattr(error, 'problem', error)}.", "Check quotes and indentation there."
        ) from error


def load_job(source: str | Path | Mapping[str, Any]) -> Job:
    """A validated job from a YAML or JSON file, or a mapping; AI Toolkit's wrapped form is unwrapped first."""
    return load_job_with_notes(source)[0]


def load_job_with_notes(source: str | Path | Mapping[str, Any], name: str | None = None) -> tuple[Job, list[Warned]]:
    """The job, and what of AI Toolkit's form it could not take over. ``name`` takes the place of the job's own."""
    data, where = (dict(source), "The job") if isinstance(source, Mapping) else _read(Path(source))
    if not isinstance(data, Mapping):
        raise JobError(f"{where} is not a job.", "A job is YAML with at least kind, name and model.")
    data, notes = unwrap(data, name)
    kind = data.get("kind", "train")
    if not isinstance(kind, str) or kind not in KINDS:
        raise JobError(f"{where} is of kind {kind!r}, which is not known.", did_you_mean(str(kind), KINDS))
    try:
        return KINDS[kind].model_validate({**data, "kind": kind}), notes
    except ValidationError as error:
        wrong = " ".join(explain(KINDS[kind], error).values())
        raise JobError(f"{where}: {wrong}", "See docs/jobs.md for every key.") from error


def _read(path: Path) -> tuple[Any, str]:
    """What is in the file, and its name."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise JobError(f"There is no file {path}.", "Check the path; presets are in presets/train.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{path} cannot be read: {error}.", "A job is a YAML file in UTF-8.") from error
    if path.suffix.lower() != ".json":
        return read_yaml(text, path.name), path.name
    try:
        return json.loads(text), path.name
    except ValueError as error:
        raise JobError(f"{path.name} is not valid JSON: {error}.", "Check commas and quotes there.") from error


def dump_job(job: Job, defaults: bool = False) -> str:
    """YAML without the defaults, which is what a preset is; or with all of them, which is what a run keeps."""
    data = job.model_dump(mode="json", exclude_defaults=not defaults)
    for name, section in job:
        if name in data and hasattr(section, "type"):  # it says which section it is, default or not
            data[name] = {"type": section.type, **data[name]}
    return yaml.safe_dump({"kind": job.kind, **data}, sort_keys=False, allow_unicode=True, width=100)
