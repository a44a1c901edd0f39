"""The contact sheet as data: every checkpoint of a run against every prompt, those that were drawn later too."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from engine.errors import JobError
from engine.events import Failed
from engine.jobs import GenerateJob, LoraFile, SampleSettings, TrainJob
from engine.queue import RunRecord

from .headline import nearest
from .studio import Studio
from .watch import rows

BASE = "base"
"""How a generate job calls the column without a LoRA."""


@dataclass(frozen=True)
class Sheet:
    steps: list[int]
    """Columns; step 0 is the base model."""
    prompts: list[str]
    cells: dict[tuple[int, int], Path]
    """(row, step) → picture."""
    pickable: frozenset[int]
    """Steps whose checkpoint is still there."""
    best: int | None = None
    """That of them which lies next to where the run did best by what was measured."""

    def row(self, index: int, steps: list[int]) -> list[Path | None]:
        return [self.cells.get((index, step)) for step in steps]

    def steps_of(self, row: int) -> list[int]:
        """Steps, without the base, that have a picture for the prompt."""
        return [step for step in self.steps if step and (row, step) in self.cells]


def sheet(studio: Studio, record: RunRecord) -> Sheet:
    """The run's own samples, then one row for each prompt that was drawn later, the oldest first."""
    cells: dict[tuple[int, int], Path] = {}
    with studio.history(record) as history:
        own = [event for (column, _, _), event in history.frames.items() if not column]
        lines, best = rows(history), history.verdict.best_step if history.verdict else None
    for event in own:
        cells[lines.index((event.index, event.prompt)), event.step] = record.folder / event.path
    texts = [text for _, text in lines]
    for drawing in sorted(drawings(studio, record), key=lambda one: one.added):
        with studio.history(drawing) as history:
            drawn = list(history.frames.values())
        first = len(texts)
        new = list(dict.fromkeys(event.prompt for event in drawn))
        texts += new
        for event in drawn:
            step = 0 if event.column == BASE else int(event.column) if event.column.isdigit() else None
            if step is not None:
                cells[first + new.index(event.prompt), step] = drawing.folder / event.path
    there = {key: path for key, path in cells.items() if path.exists()}
    pickable = frozenset(one.step for one in studio.checkpoints(record) if one.step)
    return Sheet(sorted({step for _, step in there}), texts, there, pickable, nearest(best, pickable) if best else None)


def drawings(studio: Studio, record: RunRecord) -> list[RunRecord]:
    """The generate jobs that were asked for on this run's contact sheet."""
    prefix = f"{record.name}-sheet-"
    return [
        one for one in studio.runner.runs() if one.kind == "generate" and one.name.startswith(prefix) and one.name[len(prefix) :].isdigit()
    ]


def more_prompts(studio: Studio, record: RunRecord, prompts: list[str], steps: list[int]) -> GenerateJob:
    """The job that draws the prompts with the base and with some of the run's checkpoints."""
    job = studio.job(record)
    if not isinstance(job, TrainJob):
        raise JobError(f"The job of {record.name} cannot be read.", "Pick another run.")
    if not prompts:
        raise JobError("There is no prompt to draw.", "Write one in each line.")
    files = [one for one in studio.checkpoints(record) if one.step in steps]
    if not files:
        raise JobError("No checkpoint is chosen.", "Tick at least one.")
    trigger = job.triggers or ""
    sample = job.sample.model_dump(include={"width", "height", "sample_steps", "guidance_scale", "neg", "seed", "format"})
    return GenerateJob(
        name=f"{record.name}-sheet-{time.time_ns() // 1_000_000}",
        model=job.model.for_drawing(),
        loras=[LoraFile(path=str(one.path), label=str(one.step)) for one in files],
        sample=SampleSettings(**sample | {"prompts": [text.replace("[trigger]", trigger) for text in prompts]}),
    )


def progress(studio: Studio, name: str) -> tuple[bool, str, list[tuple[Path, int, str]]]:
    """Whether a drawing still goes on, in words, and (picture, seed, prompt) of what it has made."""
    record = studio.runner.get(name)
    if record is None:
        return False, "", []
    with studio.history(record) as history:
        pictures = [(record.folder / event.path, event.seed, event.prompt) for event in history.frames.values()]
        phase, end = history.phase, history.end
    match record.status:
        case "queued":
            return True, "Waiting for another drawing to end …", pictures
        case "running":
            return True, f"{phase or 'Getting ready'} …", pictures
        case "failed":
            return (
                False,
                f"{end.message} {end.hint}".strip() if isinstance(end, Failed) else "It ended with an error.",
                pictures,
            )
        case "interrupted":
            return False, "It was cut off; draw again.", pictures
    return False, "", pictures
