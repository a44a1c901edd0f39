"""Runs what waits in the queue: a thread for each lane drives one job at a time from start to end.

What happens goes into the run's folder, where every tab and program reads it. Loads no torch until a job runs.
"""

from __future__ import annotations

import importlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..control import Control, Request
from ..errors import JobError
from ..events import Event, Failed
from ..jobs import Job, TrainJob
from ..jobs.changing import different, value_of, with_values
from ..runs.folder import RunFolder, slug
from ..runs.points import Point, free_final, go_back, last_point, lengthen, points
from ..settings import home, load_settings
from .alive import identity
from .found import DRAWINGS, ending, is_job, list_found, status_of
from .store import RunQueue, RunRecord, Status

Execute = Callable[[Job, RunFolder, Control], Iterator[Event]]
LOOK_EVERY = 1.0
"""Seconds between looks for what other processes put into the line."""
_FURTHER = "give it more steps, or go back to one of its steps."
_FITTING = (
    "kind ", "model.name_or_path ", "network.", "embedding", "decorator", "adapter",
    "train.optimizer ", "train.train_unet ", "train.train_text_encoder ", "train.ema_config.use_ema ", "train.weights_dtype ",
)  # fmt: skip
"""Settings that saved weights and what the optimizer remembers are for."""
_FIRST = ("network.pretrained_lora_path ", "adapter.test_img_path ")
LISTEN_EVERY = 0.3
"""Seconds between looks for what other processes ask of a run."""


class Runner:
    """Takes jobs, runs them, and says how they are. Several processes may each have one on the same database."""

    def __init__(self, root: Path | None = None, database: Path | None = None, execute: Execute | None = None):
        """Without arguments: the output folder of the settings, the database beside them, and the engine."""
        self.root = (root or load_settings().folder("output")).resolve()
        self.queue = RunQueue(database or home() / "darkroom.db")
        self._execute = execute
        self._me = identity()
        self._driven: dict[str, Control] = {}
        self._lock = threading.RLock()  # between what the database says is ours and what we drive
        self._lanes: dict[str, threading.Thread] = {}
        self._wake = {"train": threading.Event(), "draw": threading.Event()}
        self._closing = threading.Event()
        self._recover()
        list_found(self.queue, self.root)

    def submit(self, job: Job, step: int | None = None) -> str:
        """Puts a job at the end of its line and returns the run's name. The same job again goes on where it was.

        ``step``: a run of that name goes back to that step, and on with the settings of this job.
        """
        _refuse_what_cannot_be(job)
        with self._lock:
            record, fresh = self._admit(job, step)
            if fresh:
                self._line_up(record)
        return record.name

    def run(self, job: Job, control: Control | None = None, step: int | None = None) -> Iterator[Event]:
        """Runs a job here and now, without the line; its events, which are kept in its folder as well. ``step`` as in ``submit``.

        Iterate it to the end: closing it ends the run as it is, without a last save. ``control.stop`` ends it in order.
        """
        _refuse_what_cannot_be(job)
        if step is not None:
            self._check_free("train")
        record, fresh = self._admit(job, step)
        if not fresh and record.status == "running":
            raise JobError(f"{record.name} is running already.", "Watch it in the app, or stop it there first.")
        yield from self._here(record, control or Control())

    def resume(self, name: str, step: int | None = None) -> None:
        """Puts a run that was stopped, interrupted or failed back into the line. With ``step``, it goes back there first: then one that
        is finished may go on too. ``points`` says which steps there are."""
        record = self._going_on(name, step)
        if record.status not in ("queued", "running"):
            self._line_up(record)

    def more(self, name: str, steps: int, step: int | None = None) -> None:
        """The same for a training, finished or not, that is to do so many steps more than it has done."""
        self._line_up(self._going_on(name, step, steps))

    def go_on(self, name: str, step: int | None = None, more: int | None = None, control: Control | None = None) -> Iterator[Event]:
        """Like ``resume`` and ``more``, here and now; iterate it as ``run``."""
        self._check_free(self._known(name).lane)  # before anything is put aside
        yield from self._here(self._going_on(name, step, more), control or Control())

    def points(self, name: str) -> list[Point]:
        """Steps that a run can go on from, the oldest first."""
        return points(RunFolder(self._known(name).folder))

    def ask(self, name: str, request: Request) -> None:
        """Stop, save, sample or pause now, or go on. A waiting run that is asked to stop leaves the line."""
        with self._lock:
            if control := self._driven.get(name):
                return control.ask(request)
        self._known(name)
        self.queue.ask(name, request)

    def change(self, name: str, values: dict[str, Any]) -> None:
        """Other values of settings, by key, for a run that is on: from its next step on. Raises JobError where that cannot be."""
        record = self._known(name)
        if record.status != "running":
            raise JobError(f"{name} is not running.", "Change its job file, and run that.")
        with_values(RunFolder(record.folder).job(), values)
        with self._lock:
            if control := self._driven.get(name):
                return control.change(values)
        self.queue.ask(name, values)

    def remove(self, name: str) -> None:
        """Takes a run off the list. Its folder stays as it is."""
        if self._known(name).status == "running":
            raise JobError(f"{name} is running.", "Stop it first.")
        self.queue.remove(name)

    def runs(self) -> list[RunRecord]:
        """All runs whose folders are there, the newest first."""
        return [record for record in self.queue.runs() if record.folder.is_dir()]

    def get(self, name: str) -> RunRecord | None:
        record = self.queue.get(name)
        return record if record and record.folder.is_dir() else None

    def start(self) -> None:
        """Begins to work through the lines, in threads. Once is enough."""
        for lane in self._wake:
            if lane not in self._lanes:
                self._lanes[lane] = threading.Thread(target=self._serve, args=(lane,), name=f"darkroom-{lane}", daemon=True)
                self._lanes[lane].start()

    def close(self, timeout: float = 30.0) -> None:
        """Asks what runs to stop and save, and waits for it; what does not end in time counts as interrupted."""
        self._closing.set()
        with self._lock:
            for control in self._driven.values():
                control.ask("stop")
        end = time.monotonic() + timeout
        for lane, thread in self._lanes.items():
            self._wake[lane].set()
            thread.join(max(0.0, end - time.monotonic()))
        with self._lock:
            for name in self._driven:
                self._finish(name, "interrupted")

    # -- into the line ------------------------------------------------------------------------------------------------

    def _admit(self, job: Job, step: int | None = None) -> tuple[RunRecord, bool]:
        """The record of a job that may run, its folder made; and whether it still has to be lined up."""
        name = slug(job.name)
        parent = self.root / DRAWINGS if job.kind == "generate" else self.root
        folder = RunFolder(parent / name)
        with self._lock:
            known = self.get(name)
            if known and known.folder != folder.path:
                raise JobError(f"There is already a run named {name}, in {known.folder}.", "Choose another name.")
            if folder.config.exists():
                same, status = is_job(folder, job), known.status if known else status_of(folder)
                if known and status in ("queued", "running"):
                    if same and step is None:
                        return known, False
                    doing = "waiting" if status == "queued" else "running"
                    raise JobError(
                        f"A run named {name} is {doing}{'' if same else ' with other settings'}.",
                        "Choose another name, or stop that one first.",
                    )
                if step is not None:
                    self._check_fits(folder, job)
                    go_back(folder, step, anew=True)
                elif same and status == "completed":
                    raise JobError(f"{name} is finished already.", f"Choose another name to do it again; {_FURTHER}")
                elif not same and (status == "completed" or folder.checkpoints() or folder.state.exists()):
                    self._lengthened(folder, job)
            elif step is not None:
                raise JobError(f"There is no run named {name} to go back in.", "Look at the list of runs.")
            RunFolder.create(parent, job, exist_ok=True)
            return RunRecord(name, job.kind, "queued", folder.path, time.time()), True

    def _lengthened(self, folder: RunFolder, job: Job) -> None:
        """A job that only asks for more steps than are done goes on; raises JobError for every other difference."""
        try:
            then = folder.job()
            changed = different(then, job)
        except JobError as error:  # of a newer program, or changed by hand
            changed = [error.message.removesuffix(".")]
        done = max((point.step for point in points(folder)), default=0)
        if len(changed) != 1 or not changed[0].startswith("train.steps ") or not done < value_of(job, "train.steps"):
            told = "; ".join(changed[:4]) + (f"; and {len(changed) - 4} more" if len(changed) > 4 else "")
            raise JobError(
                f"There is already a run named {folder.name} with other settings: {told}.",
                "Choose another name; or continue that run from the list of runs; or go back to one of its steps with the new settings (--from).",
            )
        if done != last_point(folder):
            go_back(folder, done)
        free_final(folder)

    def _check_fits(self, folder: RunFolder, job: Job) -> None:
        """Raises JobError where the weights of a run are none for that job: before anything of it is put aside."""
        if odd := [one for one in different(folder.job(), job) if one.startswith(_FITTING) and not one.startswith(_FIRST)]:
            raise JobError(
                f"What {folder.name} has saved does not fit other settings: {'; '.join(odd[:4])}.", "Set them back, or choose another name."
            )

    def _going_on(self, name: str, step: int | None = None, more: int | None = None) -> RunRecord:
        """A run made ready to go on."""
        with self._lock:
            record = self._known(name)
            folder = RunFolder(record.folder)
            if record.status in ("queued", "running"):
                if step is None and more is None:
                    return record
                hint = "Change train.steps of it instead." if step is None and record.status == "running" else "Stop it first."
                raise JobError(f"{name} is {'waiting' if record.status == 'queued' else 'running'}.", hint)
            if record.status == "completed" and more is None and step in (None, *(one.step for one in points(folder)[-1:])):
                raise JobError(f"{name} is finished.", f"Train again under another name; {_FURTHER}")
            if more is not None and more < 1:
                raise JobError(f"{name} cannot be trained {more} steps more.", "Give at least 1 step.")
            if step is not None:
                go_back(folder, step)
            if more is not None:
                lengthen(folder, more)
            return record

    def _here(self, record: RunRecord, control: Control) -> Iterator[Event]:
        with self._lock:
            free = self.queue.enqueue(record, worker=self._me)
            if free:
                self._driven[record.name] = control
        if not free:
            self._check_free(record.lane, "another run")
        yield from self._drive(record, control)

    def _check_free(self, lane: str, busy: str = "") -> None:
        """Raises JobError where a run of that lane is on. ``busy``: one is, whose name may be gone by now."""
        if busy := next((r.name for r in self.runs() if r.status == "running" and r.lane == lane), busy):
            raise JobError(f"{busy} is running on this computer.", "Wait until it ends, or stop it first.")

    def _line_up(self, record: RunRecord) -> None:
        self.queue.enqueue(record)
        self._wake[record.lane].set()

    def _known(self, name: str) -> RunRecord:
        if record := self.get(name):
            return record
        raise JobError(f"There is no run named {name}.", "Look at the list of runs.")

    # -- work ---------------------------------------------------------------------------------------------------------

    def _serve(self, lane: str) -> None:
        while not self._closing.is_set():
            try:
                claimed = self._claim(lane)
            except sqlite3.Error:
                claimed = None  # a full disk, or a lock held for long: later
            if claimed is None:
                self._wake[lane].wait(LOOK_EVERY)
                self._wake[lane].clear()
                continue
            for _ in self._drive(*claimed):
                pass

    def _claim(self, lane: str) -> tuple[RunRecord, Control] | None:
        with self._lock:
            self._recover()
            record = None if self._closing.is_set() else self.queue.claim(lane, self._me)
            if record is None:
                return None
            control = self._driven[record.name] = Control(if_changed="ask")
            return record, control

    def _recover(self) -> None:
        with self._lock:
            self.queue.recover(self._me, self._driven)

    def _drive(self, record: RunRecord, control: Control) -> Iterator[Event]:
        """The events of a run, each written down before it is passed on. The last one says how the run ended."""
        folder, ended = RunFolder(record.folder), threading.Event()
        status: Status = "interrupted"
        listener = threading.Thread(target=self._listen, args=(record.name, control, ended), daemon=True)
        try:
            self._hear(record.name, control)
            listener.start()
            for event in self._events(folder, control):
                status = ending(event)
                try:
                    folder.append(event)
                except OSError as error:  # nothing more can be told: a full disk, a folder that is gone
                    status = "failed"
                    yield Failed(
                        message=f"The log of {record.name} cannot be written: {error.strerror}.",
                        hint="Free some space, then resume.",
                    )
                    break
                yield event
        finally:
            ended.set()
            with self._lock:
                self._finish(record.name, status)
                self._driven.pop(record.name, None)

    def _events(self, folder: RunFolder, control: Control) -> Iterator[Event]:
        try:
            execute = self._execute or importlib.import_module("engine.execute").execute
            yield from execute(folder.job(), folder, control)
        except Exception as error:  # the engine itself could not be loaded, or the folder's job was changed by hand
            from ..execute import explain

            failed: Event = explain(error)
        else:
            return
        yield failed

    def _listen(self, name: str, control: Control, ended: threading.Event) -> None:
        """Gives signs of life, and passes on what other processes ask, however long an event takes."""
        while not ended.wait(LISTEN_EVERY):
            self._hear(name, control)

    def _hear(self, name: str, control: Control) -> None:
        try:
            requests = self.queue.beat(name, self._me)
        except sqlite3.Error:
            return  # next time
        if requests is None:
            requests = ["stop"]  # another process took it over
        for request in requests:
            control.hear(request)

    def _finish(self, name: str, status: Status) -> None:
        for wait in (0.2, 1.0, 0.0):
            try:
                return self.queue.finish(name, self._me, status)
            except sqlite3.Error:  # a full disk: the run counts as interrupted later, see RunQueue.recover
                time.sleep(wait)


def _refuse_what_cannot_be(job: Job) -> None:
    """Raises JobError where a training would end in its first seconds by its settings alone. Loads no torch."""
    if isinstance(job, TrainJob):
        from ..training.before import check_before

        for _ in check_before(job):
            pass
