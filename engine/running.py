"""Jobs on the command line: their events as lines, Ctrl-C as a request to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .control import Control
from .errors import JobError
from .events import Asked, Event, Failed, Finished, Progress, Step, describe
from .jobs import Job
from .queue.found import DRAWINGS
from .queue.runner import Runner
from .runs.atomic import discard
from .runs.folder import slug

COMPLETED, FAILED, WRONG, CUT_OFF = 0, 1, 2, 130
EVERY = 2.0
"""Seconds between lines of progress where they cannot be written over each other."""


def run_jobs(jobs: Sequence[Job], output: Path | None, restart: bool, recover: bool, step: int | None = None, go_on: bool = False) -> int:
    """Does the jobs one after another; the exit code. ``recover``: a failure does not keep the next from being done.

    ``step``: the run of that name goes back there first. ``go_on``: without a question, whatever has changed.
    """
    runner = Runner(output.expanduser().resolve() if output else None)
    worst = COMPLETED
    for job in jobs:
        if restart:
            forget(runner, job)
        try:
            code, stopped = run_job(runner, job, step, go_on)
        except JobError as error:  # the run may not begin
            again = " On the command line: --name, --from or --restart; resume NAME --more." if folder_of(runner, job).exists() else ""
            print(f"{error}{again}", file=sys.stderr)
            code, stopped = WRONG, False
        worst = max(worst, code)
        if stopped or code == CUT_OFF or (code and not recover):
            break
    return worst


def run_job(runner: Runner, job: Job, step: int | None = None, go_on: bool = False) -> tuple[int, bool]:
    """The exit code, and whether the person stopped it."""
    code, stopped = watch(lambda control: runner.run(job, control, step), go_on)
    if code == COMPLETED:
        print(f"The run is in {folder_of(runner, job)}")
    return code, stopped


def watch(begin: Callable[[Control], Iterator[Event]], go_on: bool = False) -> tuple[int, bool]:
    """Shows the events of a run to its end; the exit code, and whether the person stopped it. ``go_on``: without a question."""
    lines, last, control = Lines(sys.stdout), None, Control(if_changed="go on" if go_on else "ask" if is_attended() else "refuse")
    try:
        with stopping(control):
            for last in begin(control):
                lines.show(last)
                if isinstance(last, Asked) and control.asked:
                    ask(control)
    except KeyboardInterrupt:
        lines.end()
        print("Ended. Run the same job again to go on from the last checkpoint.", file=sys.stderr)
        return CUT_OFF, True
    lines.end()
    return FAILED if isinstance(last, Failed) else COMPLETED, isinstance(last, Finished) and last.reason == "stopped"


def is_attended() -> bool:
    """Whether somebody is there to read a question and to answer it."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def ask(control: Control) -> None:
    """Asks on the terminal, and returns: the answer may come from another window, from the app or with Ctrl-C as well."""
    print("Go on? [y/N] ", end="", flush=True)
    threading.Thread(target=_answer, args=(control,), daemon=True).start()


def _answer(control: Control) -> None:
    try:
        line = os.read(sys.stdin.fileno(), 1000).decode(errors="replace")  # no lock of Python's is held by who waits here until the end
    except (OSError, ValueError):
        line = ""
    if control.asked:  # else somebody was quicker
        control.ask("go" if line.strip().lower() in {"y", "yes"} else "stop")


def folder_of(runner: Runner, job: Job) -> Path:
    return runner.root / (DRAWINGS if job.kind == "generate" else "") / slug(job.name)


def forget(runner: Runner, job: Job) -> None:
    """Deletes what an earlier run of that name left. A folder that is no run's is not touched."""
    folder = folder_of(runner, job)
    if runner.get(slug(job.name)):
        runner.remove(slug(job.name))  # refuses while it runs
    if (folder / "config.yaml").is_file():
        discard(folder)


@contextmanager
def stopping(control: Control) -> Iterator[None]:
    """Ctrl-C, or the system's request to end, asks the job to save and stop; the second time it raises KeyboardInterrupt."""

    def ask(number: int, _: object) -> None:
        if control.stop:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a third time ends even what cannot be interrupted
            raise KeyboardInterrupt
        control.ask("stop")
        print(f"\nStopping{'' if control.asked else ' after this step, and saving'}. Ctrl-C again ends at once.", file=sys.stderr)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Lines:
    """Writes events as lines. Progress is one line that changes on a terminal, and a line every two seconds elsewhere."""

    def __init__(self, stream: IO[str]):
        self.stream, self.changing, self.open, self.told = stream, stream.isatty(), 0, 0.0

    def show(self, event: Event) -> None:
        if not isinstance(event, (Step, Progress)):
            self.end()
            self._write(describe(event) + "\n")
            self.told = 0.0
            return
        text = describe(event) + left(event)
        if self.changing:
            self._write("\r" + text.ljust(self.open))
            self.open = len(text)
        elif time.monotonic() - self.told >= EVERY or is_last(event):
            self._write(text + "\n")
            self.told = time.monotonic()

    def end(self) -> None:
        """Closes a line that was still changing."""
        if self.open:
            self._write("\n")
            self.open = 0

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def is_last(event: Step | Progress) -> bool:
    return event.step == event.total if isinstance(event, Step) else event.done == event.total


def left(event: Step | Progress) -> str:
    """The time that is left, of a step."""
    if not isinstance(event, Step) or is_last(event):
        return ""
    seconds = (event.total - event.step) * event.seconds
    if seconds < 90:
        return f"  {seconds:.0f} s left"
    return f"  {seconds / 60:.0f} min left" if seconds < 5400 else f"  {seconds / 3600:.1f} h left"
