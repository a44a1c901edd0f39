"""Figures and samples for TensorBoard, Weights & Biases and Trackio. Each is an extra package, loaded where it is used.

None of them can end a run or slow it: each has a thread of its own, and what fails there is told and left. Tried with tensorboardX
2.6, wandb 0.31 and trackio 0.43.
"""

from __future__ import annotations

import importlib.util
import queue
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from ..events import Event, Finished, Measured, Performance, Sampled, Step, Verdict, Warned
from ..jobs import TrainJob
from ..settings import home
from .atomic import replace_text
from .folder import RunFolder, slug

WAITING = 10_000
"""Events that a tracker may be behind. Of more, the newest are left out."""
PATIENCE = 30.0
"""Seconds that the end of a run waits for a tracker."""


class Tracker(ABC):
    """One program that keeps figures. Made, fed and closed in one thread."""

    title: str
    package: str

    def __init__(self, job: TrainJob, folder: RunFolder, step: int):
        """Go on after ``step``: 0 for a new run."""
        self.job, self.folder = job, folder

    def add(self, event: Event) -> None:
        if figures := figures_of(event):
            self.figures(getattr(event, "step", 0), figures)
        if isinstance(event, Sampled):
            self.sample(event, self.folder.path / event.path)

    @abstractmethod
    def figures(self, step: int, figures: dict[str, float]) -> None: ...

    @abstractmethod
    def sample(self, event: Sampled, path: Path) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class TensorBoard(Tracker):
    title, package = "TensorBoard", "tensorboardX"

    def __init__(self, job: TrainJob, folder: RunFolder, step: int):
        super().__init__(job, folder, step)
        from tensorboardX import SummaryWriter

        where = home() / Path(job.logging.log_dir or "").expanduser() / slug(job.logging.run_name or folder.name)
        self.writer = SummaryWriter(str(where), purge_step=step + 1 if step else None, flush_secs=10)

    def figures(self, step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)

    def sample(self, event: Sampled, path: Path) -> None:
        import numpy

        with Image.open(path) as picture:  # the first frame of a video
            pixels = numpy.asarray(picture.convert("RGB"))
        self.writer.add_image(_name(event), pixels, event.step, dataformats="HWC")
        self.writer.add_text(_name(event), event.prompt, event.step)

    def close(self) -> None:
        self.writer.close()


class Wandb(Tracker):
    title, package = "Weights & Biases", "wandb"

    def __init__(self, job: TrainJob, folder: RunFolder, step: int):
        super().__init__(job, folder, step)
        import wandb

        self.wandb, logging = wandb, job.logging
        if not logging.offline and not wandb.login(prompt=False, verify=False):  # it would ask in the window where the program was started
            raise RuntimeError("there is no login; call wandb login once, or set logging.offline")
        quiet = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )  # figures and samples go there, and nothing about the computer
        self.run = wandb.init(
            project=logging.project_name, name=logging.run_name or folder.name, id=_identity(folder), resume="allow", dir=str(folder.path),
            mode="offline" if logging.offline else "online", config=told(job), settings=quiet, reinit="create_new",
        )  # fmt: skip
        self.run.define_metric("*", step_metric="step")  # so that steps that are done again can be told again

    def figures(self, step: int, figures: dict[str, float]) -> None:
        self.run.log({**figures, "step": step})

    def sample(self, event: Sampled, path: Path) -> None:
        self.run.log({_name(event): self.wandb.Image(str(path), caption=event.prompt), "step": event.step})

    def close(self) -> None:
        self.run.finish()


class Trackio(Tracker):
    title, package = "Trackio", "trackio"

    def __init__(self, job: TrainJob, folder: RunFolder, step: int):
        super().__init__(job, folder, step)
        import trackio

        self.trackio, logging = trackio, job.logging
        name = logging.run_name or folder.name
        self.run = trackio.init(
            project=logging.project_name, name=name, config=told(job), resume="allow" if step else "never", embed=False,
            auto_log_gpu=False, auto_log_cpu=False,
        )  # fmt: skip

    def figures(self, step: int, figures: dict[str, float]) -> None:
        self.run.log(figures, step=step)

    def sample(self, event: Sampled, path: Path) -> None:
        with Image.open(path) as picture:
            self.run.log({_name(event): self.trackio.Image(picture.convert("RGB"), caption=event.prompt)}, step=event.step)

    def close(self) -> None:
        self.run.finish()


def wanted(job: TrainJob) -> list[type[Tracker]]:
    """Those that the job asks for."""
    asked: dict[type[Tracker], bool] = {
        TensorBoard: job.logging.log_dir is not None,
        Wandb: job.logging.use_wandb,
        Trackio: job.logging.use_trackio,
    }
    return [kind for kind, is_asked in asked.items() if is_asked]


def missing(job: TrainJob) -> Iterator[Warned]:
    """What the job asks for and is not installed: the run does without."""
    for kind in wanted(job):
        if not importlib.util.find_spec(kind.package):
            yield Warned(
                message=f"{kind.title} gets nothing of this run: the package {kind.package} is not installed.",
                hint=f"Install it beside the program: pip install {kind.package}.",
            )


def tracked(events: Iterator[Event], job: TrainJob, folder: RunFolder, step: int) -> Iterator[Event]:
    """The events, each handed on to the trackers of the job; where one of them failed, that is told once."""
    lines = [_Line(kind, job, folder, step) for kind in wanted(job) if importlib.util.find_spec(kind.package)]
    try:
        for event in events:
            for line in lines:
                line.add(event)
                if isinstance(event, Finished):  # nothing comes after it
                    line.close()
                yield from line.failures()
            yield event
    finally:
        for line in lines:
            line.close()


class _Line:
    """A tracker in a thread of its own, and what waits for it."""

    def __init__(self, kind: type[Tracker], job: TrainJob, folder: RunFolder, step: int):
        self._kind, self._arguments = kind, (job, folder, step)
        self._waiting: queue.Queue[Event | None] = queue.Queue(WAITING)
        self._failed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._told, self._closed = False, False
        self._thread = threading.Thread(target=self._work, name=f"tracker {kind.package}", daemon=True)
        self._thread.start()

    def add(self, event: Event) -> None:
        """Never waits."""
        if not self._told and (figures_of(event) or isinstance(event, Sampled)):
            try:
                self._waiting.put_nowait(event)
            except queue.Full:
                self._failed.put("it is too slow")

    def failures(self) -> Iterator[Warned]:
        """The first of them."""
        if not self._told and not self._failed.empty():
            self._told = True
            yield Warned(
                message=f"{self._kind.title} gets nothing more of this run: {self._failed.get()}.",
                hint="The run goes on; its figures are in metrics.csv.",
            )

    def close(self) -> None:
        """Wait for what is left, but not for long."""
        if self._closed:
            return
        self._closed = True
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._failed.put(f"it did not take everything within {PATIENCE:.0f} seconds")

    def _work(self) -> None:
        try:
            tracker = self._kind(*self._arguments)
            while (event := self._waiting.get()) is not None:
                tracker.add(event)
            tracker.close()
        except BaseException as error:  # some of them raise SystemExit where there is no login
            self._failed.put(_reason(error))


def _reason(error: BaseException) -> str:
    """What went wrong, in a line without a full stop."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror[:1].lower()}{error.strerror[1:]}" + (f": {error.filename}" if error.filename else "")
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


def figures_of(event: Event) -> dict[str, float]:
    """What of an event can be drawn as curves, by a name with its group before the slash."""
    match event:
        case Step():
            return {"train/loss": event.loss, "train/lr": event.lr, "speed/seconds": event.seconds}
        case Measured():
            return {f"validation/{event.name.removeprefix('validation ')}": event.value}
        case Verdict():
            return {"validation/best": event.best, "validation/best_step": event.best_step}
        case Performance():
            known = {
                "pictures_per_second": event.pictures_per_second,
                "tflops": event.tflops,
                "share_of_peak": event.share,
                "memory": event.memory,
            }
            return {f"speed/{name}": float(value) for name, value in {**known, **event.phases}.items() if value is not None}
    return {}


def told(job: TrainJob) -> dict[str, Any]:
    """What a tracker hears of the job: no folders and no captions, which stay here."""
    data = job.model_dump(mode="json", include={"network", "train", "save"})
    base = Path(job.model.name_or_path)
    return {**data, "model": base.name if base.exists() else job.model.name_or_path, "arch": job.model.arch}


def _name(event: Sampled) -> str:
    return f"samples/{event.index:02d}"


def _identity(folder: RunFolder) -> str:
    """By which Weights & Biases knows the run again when it goes on."""
    file = folder.path / "wandb" / "id"
    if not file.is_file():
        replace_text(file, uuid.uuid4().hex[:12])
    return file.read_text().strip()
