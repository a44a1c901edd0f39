"""Where a run can go on from, and how it goes back there. No torch here.

Nothing is lost by going back but the exact states of later steps: checkpoints and samples of later steps are put aside, in a
folder of the run. events.jsonl only grows: a ``WentBack`` tells its readers what does not count any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import JobError
from ..events import Changed, Saved, WentBack
from ..jobs import TrainJob
from ..jobs.changing import with_values
from .atomic import discard, put, staging
from .changes import current_job, made_before
from .checkpoints import read_manifest, write_state
from .folder import RunFolder
from .metrics import cut_back

WEIGHTS_ALONE = "weights_alone"
"""Value of a state that says that its weights are those of the checkpoint of the same step; then it has nothing else."""


@dataclass(frozen=True)
class Point:
    """A step that a run can go on from."""

    step: int
    exact: bool
    """Whether all that the run knew there is kept: then it goes on as if it had never done more. Else only the weights are, in the
    precision of the file: the optimizer begins anew, and so does an average."""


def points(folder: RunFolder) -> list[Point]:
    """All of them, the oldest first. Reads no weights, so a state that is damaged inside is found out only when it is loaded."""
    states = _states(folder)
    weights = {one.step for one in folder.checkpoints()} if _can_begin_with_weights(folder) else set()
    return [Point(step, states.get(step, False)) for step in sorted(states.keys() | weights) if step > 0]


def last_point(folder: RunFolder) -> int:
    """The step that a run goes on from when nothing else is asked for. 0: it begins."""
    return max(_states(folder), default=0)


def told(folder: RunFolder) -> str:
    """The points in a sentence."""
    names = [f"{point.step}{'' if point.exact else ' (its weights alone)'}" for point in points(folder)]
    return f"It can go on from step {', '.join(names)}." if names else "Nothing of it is saved: run its job again to begin anew."


def go_back(folder: RunFolder, step: int, anew: bool = False) -> WentBack:
    """Makes the run go on from that step; what came after it is put aside. Only for a run that nobody drives.
    ``anew``: with the settings of a job that was given for that.

    Killed in the middle, it is done again with the same step. Returns the event, which is in the log by then.
    """
    found = {point.step: point for point in points(folder)}
    if step not in found:
        raise JobError(f"{folder.name} cannot go back to step {step}.", told(folder))
    free_final(folder)
    if not found[step].exact:
        _take_weights(folder, step)
    for later in [other for other in _states(folder) if other > step]:
        discard(folder.state_path(later))  # from here on, the run goes on from the step
    gone = [
        *(path for c in folder.checkpoints() if c.step > step for path in folder.files_of(c)),
        *(s.path for s in folder.list_samples() if s.step > step),
    ]
    aside = folder.next_aside() if gone else None
    for path in gone:
        assert aside is not None
        target = aside / path.relative_to(folder.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        put(path, target)
    cut_back(folder.metrics, step)
    event = WentBack(step=step, aside=aside.relative_to(folder.path) if aside else None, anew=anew)
    folder.append(event)
    return event


def free_final(folder: RunFolder) -> None:
    """A run that goes on is not at its end: its final weights become the checkpoint of their step."""
    for one in [one for one in folder.checkpoints() if one.final]:
        files = folder.files_of(one)
        for path in files:
            put(path, _numbered(folder, path, one.step))
        folder.append(Saved(step=one.step, path=Path(_numbered(folder, files[0], one.step).name)))


def lengthen(folder: RunFolder, steps: int) -> int:
    """Makes a training go on for so many steps from where it is; its new number of steps. Only for a run that nobody drives."""
    job = current_job(folder)
    if not isinstance(job, TrainJob):
        raise JobError(f"{folder.name} is a {job.kind} job.", "Only trainings can be trained further.")
    if steps < 1 or not (found := points(folder)):
        raise JobError(f"{folder.name} cannot be trained {steps} steps more.", "Give at least 1 step." if steps < 1 else told(folder))
    done = found[-1].step
    with_values(job, {"train.steps": done + steps}, done)  # raises where that is too many
    if done != last_point(folder):
        go_back(folder, done)
    free_final(folder)
    if job.train.steps != done + steps:
        folder.append(Changed(step=done, key="train.steps", before=job.train.steps, value=done + steps))
    return done + steps


def _states(folder: RunFolder) -> dict[int, bool]:
    """Steps of the states that look whole, and whether each is exact."""
    states = {}
    for path in folder.state.iterdir() if folder.state.is_dir() else ():
        if path.name.isdecimal() and (manifest := read_manifest(path, thorough=False)):
            states[int(path.name)] = bool(manifest["groups"])
    return states


def _numbered(folder: RunFolder, path: Path, step: int) -> Path:
    return path.with_name(path.name.replace(folder.name, f"{folder.name}_{step:09d}", 1))


def _can_begin_with_weights(folder: RunFolder) -> bool:
    """A training, from its own kind of file: a whole model that an adapter was merged into is none."""
    try:
        job = folder.job()
    except JobError:
        return False
    return isinstance(job, TrainJob) and not job.train.merge_network_on_save


def _take_weights(folder: RunFolder, step: int) -> None:
    """A state that says no more than where the weights are."""
    with staging(folder.state) as stage:
        write_state(stage / "state", step, {}, {WEIGHTS_ALONE: True, "changed": made_before(folder, step)})
        put(stage / "state", folder.state_path(step))
