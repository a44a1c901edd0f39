"""Runs from the line to their end: with real threads, real processes, and jobs that only count."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.control import Control
from engine.errors import JobError
from engine.events import Event, Failed, Finished, Phase, Saved, Step
from engine.jobs import Job, load_job
from engine.queue import Runner, follow
from engine.runs.changes import current_job
from engine.runs.checkpoints import CheckpointStore, State
from engine.runs.folder import RunFolder
from engine.runs.points import last_point


def a_job(name: str = "cats", **train: Any) -> Job:
    return load_job(
        {
            "kind": "train",
            "name": name,
            "model": {"name_or_path": "b"},
            "datasets": [{"path": "d"}],
            "train": train,
        }
    )


def a_drawing(name: str = "picture", **sample: Any) -> Job:
    return load_job({"kind": "generate", "name": name, "model": {"name_or_path": "b"}, "sample": sample})


def count(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
    """Counts to the job's steps, a hundred a second; goes on where the file says; saves when asked and when stopped."""
    path = folder.checkpoint_path(0)
    step = int(path.read_text()) if path.exists() else 0
    yield Phase(name="Loading")
    total = job.train.steps if job.kind == "train" else 3
    while step < total and not control.stop:
        step += 1
        time.sleep(0.01)
        yield Step(step=step, total=total, loss=1 / step, lr=1e-4, seconds=0.01)
        if control.take("save"):
            path.write_text(str(step))
            yield Saved(step=step, path=Path(path.name))
    path.write_text(str(step))
    yield Finished(step=step, reason="completed" if step == total else "stopped")


def wait_for(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def events(runner: Runner, name: str) -> list[Event]:
    return follow(RunFolder(runner.get(name).folder).events)[0]


def status(runner: Runner, name: str) -> str:
    return runner.get(name).status


def stepped(runner: Runner, name: str) -> bool:
    return any(event.kind == "step" for event in events(runner, name))


Make = Callable[..., Runner]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes runners on one database, and ends them."""
    made: list[Runner] = []

    def runner(execute: Any = count, start: bool = True) -> Runner:
        made.append(Runner(tmp_path / "output", tmp_path / "queue.db", execute=execute))
        if start:
            made[-1].start()
        return made[-1]

    yield runner
    for each in made:
        each.close(timeout=10)
        assert not any(thread.is_alive() for thread in each._lanes.values())


def test_a_run_goes_from_the_line_to_its_end_and_all_of_it_is_in_its_folder(
    make: Make, tmp_path: Path
) -> None:
    runner = make()
    name = runner.submit(a_job("my cats", steps=3))
    assert name == "my_cats"
    wait_for(lambda: status(runner, name) == "completed")
    record = runner.get(name)
    assert record.folder == tmp_path / "output" / "my_cats" and record.kind == "train"
    assert RunFolder(record.folder).job() == a_job("my cats", steps=3)
    assert [event.kind for event in events(runner, name)] == ["phase", "step", "step", "step", "finished"]


def test_trainings_wait_for_each_other_and_a_drawing_for_none(make: Make, tmp_path: Path) -> None:
    runner = make()
    runner.submit(a_job("first", steps=10_000))
    wait_for(lambda: stepped(runner, "first"))
    runner.submit(a_job("second", steps=2))
    runner.submit(a_drawing())
    wait_for(lambda: status(runner, "picture") == "completed")
    assert runner.get("picture").folder == tmp_path / "output" / ".drawings" / "picture"
    assert status(runner, "first") == "running" and status(runner, "second") == "queued"
    assert [record.name for record in runner.runs()] == ["picture", "second", "first"]
    runner.ask("first", "stop")
    wait_for(lambda: status(runner, "second") == "completed")
    assert status(runner, "first") == "stopped"


def test_a_double_click_starts_one_run(make: Make) -> None:
    runner = make()
    clicks = [threading.Thread(target=runner.submit, args=(a_job(steps=20),)) for _ in range(6)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    wait_for(lambda: status(runner, "cats") == "completed")
    time.sleep(0.1)
    assert [event.kind for event in events(runner, "cats")].count("phase") == 1 and len(runner.runs()) == 1


def test_save_now_saves_and_goes_on(make: Make) -> None:
    runner = make()
    runner.submit(a_job(steps=10_000))
    wait_for(lambda: stepped(runner, "cats"))
    runner.ask("cats", "save")
    wait_for(lambda: any(event.kind == "saved" for event in events(runner, "cats")))
    assert status(runner, "cats") == "running"


def test_a_stopped_run_goes_on_where_it_was(make: Make) -> None:
    runner = make()
    runner.submit(a_job(steps=30))
    wait_for(lambda: stepped(runner, "cats"))
    runner.ask("cats", "stop")
    wait_for(lambda: status(runner, "cats") == "stopped")
    runner.resume("cats")
    wait_for(lambda: status(runner, "cats") == "completed")
    assert [event.step for event in events(runner, "cats") if event.kind == "step"] == list(range(1, 31))


def test_the_same_job_again_goes_on_with_a_run_that_was_stopped(make: Make) -> None:
    runner = make()
    runner.submit(a_job(steps=30))
    wait_for(lambda: stepped(runner, "cats"))
    runner.ask("cats", "stop")
    wait_for(lambda: status(runner, "cats") == "stopped")
    assert runner.submit(a_job(steps=30)) == "cats"
    wait_for(lambda: status(runner, "cats") == "completed")


def test_a_stop_that_comes_while_the_job_is_loading_ends_it_at_the_next_event(make: Make) -> None:
    loading, loaded = threading.Event(), threading.Event()

    def slow(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        yield Phase(name="Loading")
        loading.set()
        assert loaded.wait(20)
        yield Phase(name="Training")
        if control.stop:
            yield Finished(reason="stopped")
        else:
            yield Finished(step=1)

    runner = make(slow)
    runner.submit(a_job())
    assert loading.wait(20)
    runner.ask("cats", "stop")
    loaded.set()
    wait_for(lambda: status(runner, "cats") != "running")
    assert status(runner, "cats") == "stopped"


def test_a_waiting_run_that_is_stopped_never_begins_and_can_be_resumed(make: Make) -> None:
    runner = make(start=False)
    runner.submit(a_job(steps=2))
    runner.ask("cats", "stop")
    runner.start()
    runner.submit(a_job("dogs", steps=2))
    wait_for(lambda: status(runner, "dogs") == "completed")
    assert status(runner, "cats") == "stopped" and events(runner, "cats") == []
    runner.resume("cats")
    wait_for(lambda: status(runner, "cats") == "completed")


def test_names_that_are_taken_are_refused_with_a_way_out(make: Make) -> None:
    runner = make(start=False)
    runner.submit(a_job(steps=2))
    with pytest.raises(JobError, match=r"is waiting with other settings.*another name"):
        runner.submit(a_job(steps=3))
    with pytest.raises(JobError, match="already a run named cats"):
        runner.submit(a_drawing("cats"))
    runner.start()
    wait_for(lambda: status(runner, "cats") == "completed")
    with pytest.raises(JobError, match=r"finished already.*another name"):
        runner.submit(a_job(steps=2))
    with pytest.raises(JobError, match=r"cats is finished"):
        runner.resume("cats")
    with pytest.raises(JobError, match=r"already a run named cats with other settings: train\.lr was 0\.0001, is 0\.01\."):
        runner.submit(a_job(steps=2, lr=0.01))
    runner.submit(a_drawing())
    wait_for(lambda: status(runner, "picture") == "completed")
    RunFolder(runner.get("picture").folder).checkpoint_path(0).unlink()
    with pytest.raises(JobError, match="already a run named picture with other settings"):
        runner.submit(a_drawing(seed=7))
    with pytest.raises(JobError, match="no run named nobody"):
        runner.ask("nobody", "stop")
    assert RunFolder(runner.get("cats").folder).job() == a_job(steps=2)


def test_a_run_that_failed_before_it_saved_anything_may_be_tried_with_other_settings(make: Make) -> None:
    def picky(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        if job.train.steps > 5:
            yield Failed(message="Too many steps.", hint="Take fewer.")
        else:
            yield from count(job, folder, control)

    runner = make(picky)
    runner.submit(a_job(steps=6))
    wait_for(lambda: status(runner, "cats") == "failed")
    runner.submit(a_job(steps=5))
    wait_for(lambda: status(runner, "cats") == "completed")


def test_an_engine_that_breaks_is_a_failed_run_with_its_traceback_and_the_line_goes_on(make: Make) -> None:
    def broken(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        if job.name == "cats":
            raise ImportError("libcudart.so.12: cannot open shared object file")
        yield Finished(step=1)

    runner = make(broken)
    runner.submit(a_job())
    runner.submit(a_job("dogs"))
    wait_for(lambda: status(runner, "dogs") == "completed")
    (failed,) = events(runner, "cats")
    assert (
        status(runner, "cats") == "failed" and "libcudart" in failed.message and "Traceback" in failed.detail
    )


def test_a_log_that_cannot_be_written_ends_the_run_and_not_the_line(make: Make) -> None:
    def lost(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        if job.name == "cats":
            folder.events.unlink(missing_ok=True)
            folder.events.mkdir()
        yield Finished(step=1)

    runner = make(lost)
    runner.submit(a_job())
    runner.submit(a_job("dogs"))
    wait_for(lambda: status(runner, "dogs") == "completed")
    assert status(runner, "cats") == "failed"


def test_a_run_that_ends_without_a_word_is_interrupted(make: Make) -> None:
    runner = make(lambda job, folder, control: iter([Phase(name="Loading")]))
    runner.submit(a_job())
    wait_for(lambda: status(runner, "cats") == "interrupted")


def test_closing_stops_what_runs_and_leaves_the_line_for_the_next_start(make: Make) -> None:
    runner = make()
    runner.submit(a_job("first", steps=10_000))
    runner.submit(a_job("second", steps=2))
    wait_for(lambda: stepped(runner, "first"))
    runner.close(timeout=10)
    assert status(runner, "first") == "stopped" and status(runner, "second") == "queued"
    again = make()
    wait_for(lambda: status(again, "second") == "completed")


def test_what_does_not_end_in_time_is_interrupted_when_the_app_closes(make: Make) -> None:
    release = threading.Event()

    def deaf(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        yield Phase(name="Loading")
        release.wait(20)
        yield Finished(step=1)

    runner = make(deaf)
    runner.submit(a_job())
    wait_for(lambda: events(runner, "cats"))
    runner.close(timeout=0.1)
    assert status(runner, "cats") == "interrupted"
    release.set()
    wait_for(lambda: not runner._lanes["train"].is_alive())
    assert status(runner, "cats") == "interrupted"


def test_a_run_off_the_list_keeps_its_folder(make: Make) -> None:
    runner = make(start=False)
    runner.submit(a_job())
    folder = runner.get("cats").folder
    runner.remove("cats")
    assert runner.get("cats") is None and runner.runs() == [] and (folder / "config.yaml").exists()
    assert make(start=False).runs() == []
    runner.submit(a_job())
    assert status(runner, "cats") == "queued"


def test_the_list_follows_the_disk(make: Make, tmp_path: Path) -> None:
    runner = make()
    runner.submit(a_job("gone", steps=1))
    runner.submit(a_job("done", steps=1))
    runner.submit(a_drawing())
    wait_for(lambda: status(runner, "done") == status(runner, "picture") == "completed")
    runner.close()
    shutil.rmtree(tmp_path / "output" / "gone")
    (tmp_path / "queue.db").unlink()
    RunFolder.create(tmp_path / "output", a_job("begun")).append(Phase(name="Loading"))
    again = make(start=False)
    assert {(r.name, r.kind, r.status) for r in again.runs()} == {
        ("done", "train", "completed"),
        ("picture", "generate", "completed"),
        ("begun", "train", "interrupted"),
    }
    again.submit(a_job("gone", steps=1))
    assert status(again, "gone") == "queued"


def test_a_run_can_be_watched_where_it_is_started(make: Make) -> None:
    runner = make(start=False)
    seen = []
    for event in runner.run(a_job(steps=3)):
        assert status(runner, "cats") == "running"
        with pytest.raises(JobError, match="cats is running already"):
            next(runner.run(a_job(steps=3)))
        with pytest.raises(JobError, match=r"cats is running on this computer.*Wait"):
            next(runner.run(a_job("dogs")))
        seen.append(event)
    assert seen == events(runner, "cats") and status(runner, "cats") == "completed"


def test_a_run_whose_watcher_leaves_is_interrupted(make: Make) -> None:
    runner = make(start=False)
    watching = runner.run(a_job(steps=3))
    next(watching)
    watching.close()
    assert status(runner, "cats") == "interrupted"


PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_runner import a_job, count
from engine.queue import Runner
for event in Runner(Path(sys.argv[2]) / "output", Path(sys.argv[2]) / "queue.db", execute=count).run(a_job(steps=100_000)):
    pass
"""


@pytest.fixture
def process(make: Make, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run in another process, begun."""
    other = subprocess.Popen([sys.executable, "-c", PROCESS, str(Path(__file__).parent), str(tmp_path)])
    log = tmp_path / "output" / "cats" / "events.jsonl"
    wait_for(lambda: any(event.kind == "step" for event in follow(log)[0]))
    yield other
    other.kill()
    other.wait()


def test_a_run_of_another_process_is_seen_waited_for_and_stopped(
    make: Make, process: subprocess.Popen[bytes]
) -> None:
    runner = make()
    runner.submit(a_job("dogs", steps=2))
    time.sleep(1.2)
    assert status(runner, "cats") == "running" and status(runner, "dogs") == "queued"
    runner.ask("cats", "stop")
    wait_for(lambda: status(runner, "dogs") == "completed")
    assert status(runner, "cats") == "stopped" and process.wait(10) == 0


def test_a_killed_run_is_interrupted_the_lane_is_free_and_it_can_be_resumed(
    make: Make, process: subprocess.Popen[bytes]
) -> None:
    runner = make()
    runner.submit(a_job("dogs", steps=2))
    process.send_signal(signal.SIGKILL)
    wait_for(lambda: status(runner, "dogs") == "completed")
    assert status(runner, "cats") == "interrupted"
    before = len(events(runner, "cats"))
    runner.resume("cats")
    wait_for(lambda: len(events(runner, "cats")) > before + 3)
    assert status(runner, "cats") == "running"


def test_a_stop_reaches_a_job_that_is_silent_for_long(make: Make) -> None:
    """Asked by another runner, so through the database, while no event comes."""

    def silent(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        yield Phase(name="Loading")
        wait_for(lambda: control.stop)
        yield Finished(reason="stopped")

    runner = make(silent)
    runner.submit(a_job())
    wait_for(lambda: events(runner, "cats"))
    make(start=False).ask("cats", "stop")
    wait_for(lambda: status(runner, "cats") == "stopped")


def keep(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
    """Counts as ``count`` does, and keeps a state of every step."""
    store = CheckpointStore(folder, keep=100, keep_states=100, framework="np")
    step = last_point(folder)
    total = current_job(folder).train.steps
    while step < total and not control.stop:
        step += 1
        time.sleep(0.01)
        yield Step(step=step, total=total, loss=1 / step, lr=1e-4, seconds=0.01)
        path = store.save(step, step == total, lambda path: path.touch(), State(step, {"weights": {}}))
        yield Saved(step=step, path=path.relative_to(folder.path), final=step == total)
    yield Finished(step=step, reason="completed" if step == total else "stopped")


def counted(runner: Runner, name: str) -> list[int]:
    return [event.step for event in events(runner, name) if event.kind == "step"]


def test_a_finished_run_does_more_steps_or_goes_back_to_an_earlier_one(make: Make) -> None:
    runner = make(keep)
    runner.submit(a_job(steps=3))
    wait_for(lambda: status(runner, "cats") == "completed")
    runner.more("cats", 2)
    wait_for(lambda: status(runner, "cats") == "completed")
    assert counted(runner, "cats") == [1, 2, 3, 4, 5]
    assert [point.step for point in runner.points("cats") if point.exact] == [1, 2, 3, 4, 5]
    with pytest.raises(JobError, match=r"cats is finished.*more steps"):
        runner.resume("cats")
    with pytest.raises(JobError, match="cats is finished"):
        runner.resume("cats", step=5)
    with pytest.raises(JobError, match=r"cannot go back to step 9\. It can go on from step 1, 2, 3, 4, 5\."):
        runner.resume("cats", step=9)
    runner.resume("cats", step=2)
    wait_for(lambda: status(runner, "cats") == "completed")
    assert counted(runner, "cats") == [1, 2, 3, 4, 5, 3]  # five steps were asked for after step 3, which does not count any more


def test_a_longer_job_of_the_same_name_goes_on_and_other_settings_need_a_step(make: Make) -> None:
    runner = make(keep)
    runner.submit(a_job(steps=3))
    wait_for(lambda: status(runner, "cats") == "completed")
    runner.submit(a_job(steps=4))
    wait_for(lambda: status(runner, "cats") == "completed")
    with pytest.raises(JobError, match=r"with other settings: train\.lr was 0\.0001, is 0\.01; train\.steps was 4, is 6\..*--from"):
        runner.submit(a_job(steps=6, lr=0.01))
    with pytest.raises(JobError, match=r"does not fit other settings: train\.optimizer was 'adamw8bit', is 'lion'\."):
        runner.submit(a_job(steps=6, optimizer="lion"), step=2)
    assert runner.points("cats")[-1].step == 4
    runner.submit(a_job(steps=6, lr=0.01), step=4)
    wait_for(lambda: status(runner, "cats") == "completed")
    assert counted(runner, "cats") == [1, 2, 3, 4, 5, 6] and RunFolder(runner.get("cats").folder).job().train.lr == 0.01
    with pytest.raises(JobError, match="no run named dogs to go back in"):
        runner.submit(a_job("dogs", steps=6), step=4)


def test_nothing_is_put_aside_of_a_run_while_it_or_another_is_on(make: Make) -> None:
    runner = make(keep)
    runner.submit(a_job(steps=3))
    wait_for(lambda: status(runner, "cats") == "completed")
    runner.submit(a_job("dogs", steps=100_000))
    wait_for(lambda: stepped(runner, "dogs"))
    with pytest.raises(JobError, match=r"dogs is running\.$|dogs is running\. Stop it first"):
        runner.resume("dogs", step=1)
    with pytest.raises(JobError, match=r"dogs is running.*Change train\.steps"):
        runner.more("dogs", 5)
    with pytest.raises(JobError, match="dogs is running on this computer"):
        next(runner.go_on("cats", step=1))
    assert [point.step for point in runner.points("cats")] == [1, 2, 3]
    runner.ask("dogs", "stop")
