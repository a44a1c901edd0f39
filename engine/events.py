"""What a running job tells the world: typed, one line of JSON each. The app, the CLI and the log read the same.

Paths are relative to the run's folder, so that a run can be moved.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer log is still read by an older program

    time: float = Field(default_factory=time.time)
    """Seconds since the epoch."""


class Phase(_Event):
    """A part of the job begins: "Encoding captions"."""

    kind: Literal["phase"] = "phase"
    name: str
    peak: int | None = None
    """Most memory that the phase before this one held, in bytes: of the device, or of the process on a CPU."""


class Progress(_Event):
    """How far the current phase is."""

    kind: Literal["progress"] = "progress"
    done: int
    total: int
    """0 where nobody knows yet."""
    what: str = ""


class Step(_Event):
    """Optimizer steps up to ``step`` are done. Loss and learning rate are of the newest step that was read back."""

    kind: Literal["step"] = "step"
    step: int
    total: int
    loss: float
    lr: float
    seconds: float
    """Time a step takes, averaged since the event before this one."""
    memory: int | None = None
    """Bytes held on the device now (of the process, on a CPU)."""


class Measured(_Event):
    """A figure was taken, for example the quality on pictures that are not trained on."""

    kind: Literal["measured"] = "measured"
    step: int
    name: str
    value: float


class Performance(_Event):
    """How fast a step was, and what its time went into."""

    kind: Literal["performance"] = "performance"
    step: int
    seconds: float
    """The step took, by the device's clock."""
    phases: dict[str, float]
    """Seconds of them: waiting (for data), forward, backward, optimizer. Besides, of all steps since the event before this one: sampling, saving, validating."""
    pictures_per_second: float
    tflops: float | None = None
    """Multiplications and additions a second, in 10^12; None where they cannot be counted."""
    share: float | None = None
    """Of what the device does at most in that precision, as was measured on it."""
    memory: int | None = None
    """Most bytes held on the device since the event before this one (now and of the process, on a CPU)."""
    reserved: int | None = None
    """Bytes that the allocator keeps for itself; None on a CPU."""


VerdictName = Literal["learning", "learned", "overcooked", "not learning"]


class Verdict(_Event):
    """How the run is doing, by the loss on pictures that it is not trained on, and by its samples where they are compared; and the numbers behind it."""

    kind: Literal["verdict"] = "verdict"
    step: int
    verdict: VerdictName
    best_step: int
    """Where that loss was lowest."""
    first: float
    """The loss before the first step."""
    best: float
    now: float
    training_first: float | None = None
    """The loss on what is trained on: the mean of the first tenth, and of the last."""
    training_now: float | None = None
    likeness: dict[str, tuple[float, float]] = {}
    """Where samples are compared with the pictures (CLIP-I) and with their prompts (CLIP-T): where they were most like their prompts, and now."""
    likeness_step: int | None = None
    """The last step before samples followed their prompts clearly less, where they do; best_step is not later then."""


class Changed(_Event):
    """A setting was changed while the run was on: from the next step on it is this."""

    kind: Literal["changed"] = "changed"
    step: int
    """Steps that were done."""
    key: str
    """As in the job: train.lr."""
    before: Any
    value: Any


class Asked(_Event):
    """The run is to go on with other settings or other data than it was saved with: it waits for "go", or for "stop", which leaves
    what is saved as it was."""

    kind: Literal["asked"] = "asked"
    step: int
    """The run was saved after it."""
    settings: dict[str, tuple[Any, Any]] = {}
    """By key, as in the job: what it was, and is."""
    data: list[tuple[str, int, int]] = []
    """Folder of a data set, and how many pictures it had and has. As many: other pictures or captions."""
    about: str = ""
    """The same for the same question."""


class Agreed(_Event):
    """A person wants the run to go on as it is now: ``about`` is that of the question."""

    kind: Literal["agreed"] = "agreed"
    step: int
    about: str


class WentBack(_Event):
    """The run goes on from an earlier step. What was told of later steps before this does not count any more: steps, measurements, samples,
    checkpoints and changes after ``step``, and the end of the run. Their files, if kept, lie in ``aside``."""

    kind: Literal["went_back"] = "went_back"
    step: int
    aside: Path | None = None
    """Folder of the run that has the checkpoints and samples of later steps; None where there were none."""
    anew: bool = False
    """It goes on with the settings of a job that was given for that."""


class Sampled(_Event):
    """A picture was made."""

    kind: Literal["sampled"] = "sampled"
    step: int
    index: int
    prompt: str
    path: Path
    seed: int
    column: str = ""
    """In a comparison: the name of the checkpoint that made it; empty for the run's own samples."""


class Captioned(_Event):
    """A picture has a caption: written, or only shown."""

    kind: Literal["captioned"] = "captioned"
    path: str
    """The picture, relative to its folder."""
    text: str
    before: str | None = None
    """What it was; None where there was none."""
    written: bool = True


class Saved(_Event):
    """A checkpoint has its final name: from now on it survives anything."""

    kind: Literal["saved"] = "saved"
    step: int
    path: Path
    final: bool = False


class Noted(_Event):
    """Something worth knowing; nothing is amiss."""

    kind: Literal["noted"] = "noted"
    message: str


class Warned(_Event):
    """Something is not as the person may expect, and the job goes on."""

    kind: Literal["warned"] = "warned"
    message: str
    hint: str = ""


class Finished(_Event):
    kind: Literal["finished"] = "finished"
    step: int = 0
    reason: Literal["completed", "stopped"] = "completed"


class Failed(_Event):
    """The job ended with an error. ``detail`` is the traceback of a bug; empty when the person can mend it."""

    kind: Literal["failed"] = "failed"
    message: str
    hint: str = ""
    detail: str = ""


Event = Annotated[
    Phase
    | Progress
    | Step
    | Measured
    | Performance
    | Verdict
    | Changed
    | Asked
    | Agreed
    | WentBack
    | Sampled
    | Captioned
    | Saved
    | Noted
    | Warned
    | Finished
    | Failed,
    Field(discriminator="kind"),
]
_adapter: TypeAdapter[Event] = TypeAdapter(Event)


def dump_event(event: Event) -> bytes:
    """One line, with its end."""
    return _adapter.dump_json(event, exclude_defaults=False) + b"\n"


def parse_event(line: bytes | str) -> Event:
    return _adapter.validate_json(line)


def describe(event: Event) -> str:
    """The event as a line for people: what the CLI prints and log.txt holds."""
    match event:
        case Phase():
            peak = f"  (the phase before held {event.peak / 2**30:.2f} GB at most)" if event.peak else ""
            return f"{event.name}{peak}"
        case Progress():
            return f"  {event.what} {event.done}{f' of {event.total}' if event.total else ''}".replace("   ", "  ")
        case Step():
            return f"  step {event.step} of {event.total}  loss {event.loss:.4f}  lr {event.lr:.2e}  {event.seconds:.2f} s a step"
        case Measured():
            return f"  {event.name} {event.value:.4g} at step {event.step}"
        case Performance():
            speed = f", {event.tflops:.3g} TFLOP/s" if event.tflops is not None else ""
            share = f", {event.share:.0%} of the device's peak" if event.share is not None else ""
            parts = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in event.phases.items() if seconds)
            return f"  step {event.step} took {event.seconds:.3g} s: {event.pictures_per_second:.3g} pictures/s{speed}{share}; {parts}"
        case Verdict():
            sentence = {
                "learning": "Learning: it still gets better on pictures that it is not trained on.",
                "learned": "Learned: on pictures that it is not trained on, it hardly gets better any more.",
                "overcooked": f"Overcooked: on pictures that it is not trained on, it was best at step {event.best_step} and gets worse.",
                "not learning": "Not learning: on pictures that it is not trained on, it is as it was before the first step.",
            }[event.verdict]
            training = f" Training loss {event.training_first:.4f}, now {event.training_now:.4f}." if event.training_now is not None else ""
            if event.likeness_step is not None:
                sentence = f"Overcooked: since step {event.likeness_step}, samples are more like the pictures and less like their prompts."
            scores = "".join(f" {name} {best:.3f}, now {now:.3f}." for name, (best, now) in event.likeness.items())
            return f"{sentence}{scores} Validation loss {event.first:.4f}, at best {event.best:.4f}, now {event.now:.4f}.{training}"
        case Changed():
            return f"  {event.key} is {event.value} after step {event.step}; it was {event.before}"
        case Asked():
            return f"{what_changed(event)} Go on with it, or stop?"
        case Agreed():
            return "It goes on with that."
        case WentBack():
            return f"Back to step {event.step}{f'; what came after it is in {event.aside}' if event.aside else ''}"
        case Sampled():
            return f"  sample {event.path}: {event.prompt}"
        case Captioned():
            was = f"{event.before} → " if event.before is not None else ""
            return f"  {event.path}: {was}{event.text}{'' if event.written else '  (not written)'}"
        case Saved():
            return f"  saved {event.path}"
        case Noted():
            return f"  {event.message}"
        case Warned():
            return f"Warning: {event.message} {event.hint}".rstrip()
        case Finished():
            return f"{'Stopped' if event.reason == 'stopped' else 'Finished'} at step {event.step}"
        case Failed():
            return f"Failed: {event.message} {event.hint}".rstrip() + (f"\n{event.detail}" if event.detail else "")


def what_changed(asked: Asked) -> str:
    """The question's first sentence, with the keys of settings."""
    said = [
        f"the data set {name} {f'had {then}, has {now} pictures' if then != now else 'has other pictures or captions'}"
        for name, then, now in asked.data
    ]
    said += [f"{key} was {then!r}, is {now!r}" for key, (then, now) in list(asked.settings.items())[:8]]
    more = f", and {len(asked.settings) - 8} more" if len(asked.settings) > 8 else ""
    return f"Since step {asked.step} was saved, something has changed: {', '.join(said)}{more}."
