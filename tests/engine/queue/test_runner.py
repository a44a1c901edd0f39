"""Runs from the line to their end: with real threads, and jobs that only count."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from counting import Make, a_drawing, a_job, count, events, status, stepped, wait_for

from engine.control import Control
from engine.errors import JobError
from engine.events import Event, Failed, Finished, Phase
from engine.jobs import Job
from engine.runs.folder import RunFolder


def test_a_run_goes_from_the_line_to_its_end_and_all_of_it_is_in_its_folder(make: Make, tmp_path: Path) -> None:
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
