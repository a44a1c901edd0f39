"""Runs are listed, go on, and hear what the command line asks."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from calling import call

from engine.events import Event
from engine.jobs import dump_job
from engine.queue.store import RunRecord
from engine.runs.folder import RunFolder
from engine.runs.log import follow

ROOT = Path(__file__).resolve().parents[3]


def a_run(job_file: Path, tmp_path: Path, *more: object) -> tuple[int, str, str]:
    return call("run", job_file, "--output", tmp_path / "out", "--name", "cat", *more)


def test_runs_are_listed_and_go_on_for_more_steps_or_from_an_earlier_one(make_job, tmp_path: Path) -> None:
    job_file, out = tmp_path / "job.yaml", tmp_path / "out"
    job_file.write_text(dump_job(make_job(sample__sample_every=None, save={"save_every": 2, "dtype": "fp32", "max_states_to_keep": 3})))
    assert call("runs", "--output", out) == (0, "There are no runs yet.\n", "")
    assert a_run(job_file, tmp_path)[0] == 0
    code, said, _ = call("runs", "--output", out)
    assert code == 0 and said.splitlines()[1].split() == ["cat", "train", "completed", "4", "of", "4"]
    assert call("runs", "cat", "--output", out)[1].split() == ["2", "exactly", "4", "exactly"]
    code, said, _ = call("resume", "cat", "--more", 2, "--output", out)
    assert code == 0 and "step 6 of 6" in said and said.endswith(f"Finished at step 6\nThe run is in {(out / 'cat').resolve()}\n")
    code, said, _ = call("resume", "cat", "--from", 2, "--output", out)
    assert code == 0 and "step 4 of 4" in said
    assert (out / "cat" / "earlier" / "1" / "cat_000000006.safetensors").exists()
    assert call("resume", "cat", "--output", out)[2].startswith("cat is finished.")
    assert "cannot go back to step 3" in call("resume", "cat", "--from", 3, "--output", out)[2]
    code, said, _ = a_run(job_file, tmp_path, "--from", 2)
    assert code == 0 and "step 4 of 4" in said
    assert "--from keeps what --restart deletes" in a_run(job_file, tmp_path, "--from", 2, "--restart")[2]


def test_what_is_asked_of_a_run_reaches_it_as_settings(tmp_path: Path, monkeypatch) -> None:
    asked: list[object] = []

    class Line:
        def get(self, name: str) -> RunRecord | None:
            return RunRecord(name, "train", "running" if name == "cat" else "stopped", tmp_path, 0.0) if name != "nobody" else None

        def change(self, name: str, values: dict[str, object]) -> None:
            asked.append(values)

        def ask(self, name: str, request: str) -> None:
            asked.append(request)

    monkeypatch.setattr("engine.queue.runner.Runner", lambda root: Line())
    assert call("ask", "cat", "pause") == (0, "Asked cat: pause\n", "")
    given = ["train.lr=5e-5", "sample.prompts=a cat: red", "sample.prompts=[trigger] at night", "sample.sample_every=null"]
    assert call("ask", "cat", "change", *given)[0] == 0
    assert asked == ["pause", {"train.lr": 5e-5, "sample.prompts": ["a cat: red", "[trigger] at night"], "sample.sample_every": None}]
    assert call("ask", "dog", "stop")[2] == "dog is not running. runs lists all of them."
    assert call("ask", "nobody", "stop")[2].startswith("There is no run named nobody.")
    assert "is no KEY=VALUE" in call("ask", "cat", "change", "lr")[2] and "change needs settings" in call("ask", "cat", "change")[2]
    assert call("ask", "cat", "dance")[0] == 2


def test_a_run_in_another_window_hears_what_the_command_line_asks(make_job, tmp_path: Path) -> None:
    """Through the database: two processes, as in life."""
    job_file, out = tmp_path / "job.yaml", tmp_path / "out"
    job_file.write_text(dump_job(make_job(train__steps=100_000, sample__sample_every=None)))
    other = subprocess.Popen([sys.executable, "-m", "engine", "run", job_file, "--output", out], cwd=ROOT, stdout=subprocess.DEVNULL)
    log = RunFolder(out / "tiny").events

    def told(kind: str) -> list[Event]:
        return [event for event in follow(log)[0] if event.kind == kind]

    def wait_for(kind: str) -> None:
        end = time.monotonic() + 120
        while not told(kind):
            assert time.monotonic() < end and other.poll() is None, kind
            time.sleep(0.05)

    try:
        wait_for("step")
        assert call("ask", "tiny", "change", "train.lr=5e-5", "--output", out)[0] == 0
        wait_for("changed")
        assert call("ask", "tiny", "stop", "--output", out)[0] == 0
        assert other.wait(120) == 0
    finally:
        other.kill()
        other.wait()
    assert told("changed")[0].value == 5e-5 and told("finished")[-1].reason == "stopped" and told("saved")
