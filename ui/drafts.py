"""The job that is being put together: begun from a base model's preset, changed by three views of it."""

from __future__ import annotations

from pathlib import Path

import yaml

from engine.errors import JobError
from engine.families.catalog import BaseInfo, base_of
from engine.jobs import Job, TrainJob, dump_job, load_job, read_yaml
from engine.jobs.compat import unwrap
from engine.settings import ROOT, portable

from . import form
from .form import Draft

PROMPTS = 4
LENGTHS = (("Quick", 0.5), ("Normal", 1.0), ("Thorough", 1.75))
KEPT = ("name", "trigger_word", "datasets.0.path", "datasets.0.control_path", "sample.prompts")
"""What a person has answered, which another base model does not change."""


def preset(base: BaseInfo) -> Draft:
    """The numbers that suit a base model, as a draft."""
    path = ROOT / "presets" / "train" / base.preset
    try:
        draft = short(load_job(path))
        return draft | {"model": draft["model"] | {"name_or_path": base.name_or_path}}
    except JobError:
        return {"model": {"name_or_path": base.name_or_path}, "datasets": [{}]}


def begin(base: BaseInfo, name: str, folder: Path | None, captions: list[str]) -> Draft:
    """A new job for a base model and a data set: the preset, and proposals for what only a person can know."""
    draft = preset(base)
    example = _is_example(draft, folder)
    form.put(draft, "name", name)
    form.drop(draft, "datasets.0.control_path")
    if folder is None:
        for path in ("datasets.0.path", "trigger_word", "sample.prompts"):
            form.drop(draft, path)
    elif not example:
        trigger = folder.name.replace("-", " ").replace("_", " ")
        form.put(draft, "trigger_word", trigger)
        form.put(draft, "sample.prompts", propose_prompts(captions, trigger))
    if folder is not None:
        form.put(draft, "datasets.0.path", portable(folder))
    return draft


def _is_example(draft: Draft, folder: Path | None) -> bool:
    """Whether the preset was written for these very pictures, so that its prompts and trigger words fit them."""
    path = form.get(draft, "datasets.0.path", "")
    return folder is not None and bool(path) and folder.name.removeprefix("example-") == Path(str(path)).name


def with_base(draft: Draft, base: BaseInfo) -> Draft:
    """The draft for another base model: its numbers, the person's answers."""
    result = preset(base)
    for path in KEPT:
        value = form.get(draft, path, None)
        if value is not None:
            form.put(result, path, value)
        elif path != "name":
            form.drop(result, path)
    return result


def propose_prompts(captions: list[str], trigger: str) -> list[str]:
    """Prompts for the film strip: captions from all over the data set, each once."""
    words = list(dict.fromkeys(text.replace("[trigger]", trigger) for text in captions if text))
    if not words:
        return [trigger] if trigger else []
    every = max(1, len(words) // PROMPTS)
    return words[::every][:PROMPTS]


def lengths(base: BaseInfo) -> list[tuple[str, int]]:
    """(words on the tile, steps) of the lengths that are offered for a base model."""
    normal = int(form.get(preset(base), "train.steps", 2000))
    nice = 50 if normal >= 500 else 10
    steps = [max(nice, round(normal * share / nice) * nice) for _, share in LENGTHS]
    return [(f"{name}\n{count:,} steps", count) for (name, _), count in zip(LENGTHS, steps, strict=True)]


def base_in(draft: Draft) -> BaseInfo | None:
    return base_of(str(form.get(draft, "model.name_or_path", "")))


def short(job: Job) -> Draft:
    """The job as a draft without defaults."""
    data = read_yaml(dump_job(job))
    return {key: value for key, value in data.items() if key != "kind"}


def to_yaml(draft: Draft) -> str:
    """The draft as YAML, in the order of the job's sections whether it is right or wrong."""
    order = {name: place for place, name in enumerate(TrainJob.model_fields)}
    rows = sorted(draft.items(), key=lambda pair: order.get(pair[0], len(order)))
    return yaml.safe_dump({"kind": "train", **dict(rows)}, sort_keys=False, allow_unicode=True, width=100)


def from_yaml(text: str) -> tuple[Draft, list[str]]:
    """The draft that a text stands for, and what of it could not be taken over; JobError if it is no YAML of a training."""
    data = read_yaml(text, "This")
    if not isinstance(data, dict):
        raise JobError("This is not a job.", "A job is YAML with at least name, model and datasets.")
    data, notes = unwrap(data)
    kind = data.pop("kind", "train")
    if kind != "train":
        raise JobError(
            f"This is a job of kind {kind!r}; here is the place for train.",
            "Run it with: launch.sh run FILE.",
        )
    return data, [f"{note.message} {note.hint}".strip() for note in notes]


def settled(draft: Draft) -> tuple[TrainJob | None, dict[str, str]]:
    """The job and no problems, or no job and a sentence for each wrong path. Words that only the file form knows are unwrapped."""
    return form.check(TrainJob, draft)


def free_name(wish: str, taken: set[str]) -> str:
    number, name = 2, wish
    while name in taken:
        name, number = f"{wish}-{number}", number + 1
    return name
