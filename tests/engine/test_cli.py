"""The command line, as a person uses it: exit codes, sentences, Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from engine.__main__ import main
from engine.cli import app
from engine.control import Control
from engine.errors import JobError
from engine.events import Event, Failed, Finished, Phase, Progress, Step, Warned
from engine.jobs import Job, TrainJob, dump_job
from engine.queue.runner import Runner
from engine.queue.store import RunRecord
from engine.running import EVERY, Lines, _answer, ask, is_attended, run_job, run_jobs
from engine.runs.folder import RunFolder
from engine.runs.log import follow

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def job_file(make_job, tmp_path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(dump_job(make_job()))
    return path


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit code, what it said, and what it said on the side."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, JobError):  # what engine.__main__ does with it
        return 2, done.stdout, done.stderr + str(done.exception)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_help_is_there_without_anything_heavy() -> None:
    script = "import sys, engine.cli; print([name for name in ('torch', 'pydantic', 'diffusers', 'gradio', 'numpy') if name in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True).stdout
        == "[]\n"
    )
    code, said, _ = call("--help")
    assert code == 0 and "launch.sh test" in said
    for command in ("run", "check", "families", "doctor", "lora"):
        assert command in said
        assert call(command, "--help")[0] == 0


def test_the_program_sets_what_torch_must_find_before_it_is_imported() -> None:
    script = "import runpy, sys; sys.argv = ['x', '--help']\ntry: runpy.run_module('engine', run_name='__main__')\nfinally: import os; print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    assert subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
    ).stdout.endswith("PASSIVE\n")


def test_run_trains_and_says_where_the_run_is(job_file: Path, tmp_path: Path) -> None:
    code, said, _ = call("run", job_file, "--output", tmp_path / "out", "--name", "cat")
    assert code == 0 and "step 4 of 4" in said and "saved cat.safetensors" in said
    assert said.endswith(f"Finished at step 4\nThe run is in {(tmp_path / 'out' / 'cat').resolve()}\n")
    code, _, errors = call("run", job_file, "--output", tmp_path / "out", "--name", "cat")
    assert (
        code == 2
        and errors
        == "cat is finished already. Choose another name to do it again; give it more steps, or go back to one of its steps. "
        "On the command line: --name, --from or --restart; resume NAME --more.\n"
    )
    made = (tmp_path / "out" / "cat" / "cat.safetensors").stat().st_mtime_ns
    assert call("run", job_file, "--output", tmp_path / "out", "--name", "cat", "--restart")[0] == 0
    assert (tmp_path / "out" / "cat" / "cat.safetensors").stat().st_mtime_ns > made


def test_restart_leaves_folders_alone_that_are_no_runs(job_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "tiny").mkdir(parents=True)
    (tmp_path / "out" / "tiny" / "diary.txt").write_text("mine")
    call("run", job_file, "--output", tmp_path / "out", "--restart")
    assert (tmp_path / "out" / "tiny" / "diary.txt").read_text() == "mine"


def test_a_mistake_in_the_last_job_is_told_before_the_first_begins(job_file: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(job_file.read_text().replace("steps:", "setps:"))
    code, said, errors = call("run", job_file, wrong, "--output", tmp_path / "out")
    assert (code, said) == (
        2,
        "",
    ) and "wrong.yaml: train.setps is not a known key. Did you mean steps?" in errors
    assert not (tmp_path / "out").exists()


def test_a_name_for_several_jobs_is_refused(job_file: Path) -> None:
    assert call("run", job_file, job_file, "--name", "cat")[0] == 2


def test_check_names_every_problem_and_trains_nothing(job_file: Path, tmp_path: Path, pictures: Path) -> None:
    code, said, _ = call("check", job_file)
    assert code == 0 and "6 pictures, with captions" in said and "its family is flux" in said
    data = yaml.safe_load(job_file.read_text())
    data["datasets"] += [{"path": str(tmp_path / "empty")}]
    data["model"]["name_or_path"] = str(tmp_path / "no-model")
    (tmp_path / "empty").mkdir()
    job_file.write_text(yaml.safe_dump(data))
    code, said, _ = call("check", job_file)
    assert code == 2 and said.count("problem ") == 2
    assert "There are no pictures in" in said and "There is no base model at" in said


def test_check_of_a_model_on_the_hub_says_when_the_hub_does_not_answer(job_file: Path) -> None:
    data = yaml.safe_load(job_file.read_text())
    data["model"]["name_or_path"] = "black-forest-labs/FLUX.1-dev"
    job_file.write_text(yaml.safe_dump(data))
    code, said, _ = call("check", job_file)
    assert (
        code == 2
        and "problem  black-forest-labs/FLUX.1-dev is not on this computer, and the hub cannot be reached."
        in said
    )


def test_check_of_pictures_to_draw_names_a_lora_that_is_missing(tmp_path: Path, base: Path) -> None:
    job = {
        "kind": "generate",
        "name": "draw",
        "model": {"name_or_path": str(base)},
        "loras": [{"path": str(tmp_path / "cat.safetensors")}],
    }
    (tmp_path / "draw.yaml").write_text(yaml.safe_dump(job))
    code, said, _ = call("check", tmp_path / "draw.yaml")
    assert code == 2 and "There is no file" in said and "cat.safetensors" in said


def test_what_a_foreign_job_asks_for_in_vain_is_printed(tmp_path: Path, base: Path, pictures: Path) -> None:
    process = {
        "type": "sd_trainer",
        "device": "cuda:0",
        "network": {"type": "lora", "linear": 4},
        "datasets": [{"folder_path": str(pictures)}],
        "model": {"name_or_path": str(base)},
        "train": {"content_or_style_reg": "style"},
    }
    (tmp_path / "job.yaml").write_text(
        yaml.safe_dump({"job": "extension", "config": {"name": "cat", "process": [process]}})
    )
    code, _, errors = call("check", tmp_path / "job.yaml")
    assert (
        code == 0
        and "Warning: train.content_or_style_reg is not supported yet and is left out: the result will differ." in errors
    )


def test_families_lists_what_there_is() -> None:
    code, said, _ = call("families")
    assert code == 0 and "flux" in said and "Starter" in said and "black-forest-labs/FLUX.1-dev" in said


def test_a_lora_is_looked_into_and_exported(job_file: Path, tmp_path: Path) -> None:
    call("run", job_file, "--output", tmp_path / "out")
    file = tmp_path / "out" / "tiny" / "tiny.safetensors"
    code, said, _ = call("lora", "inspect", file)
    assert code == 0 and "flux" in said and "zzz" in said and "transformer_blocks" in said
    code, said, _ = call("lora", "export", file, "--for", "comfyui")
    assert code == 0 and said == f"{file.with_name('tiny_comfyui.safetensors')}\n"
    assert "comfyui" in call("lora", "inspect", file.with_name("tiny_comfyui.safetensors"))[1]
    assert call("lora", "inspect", tmp_path / "none.safetensors")[0] == 2
    assert call("lora", "inspect", job_file)[0] == 2


def test_a_job_error_is_a_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "check", "nowhere.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err
        == "There is no file nowhere.yaml. Check the path; presets are in presets/train.\n"
    )


# ---------------------------------------------------------------------------------------------- events, lines, and signals


class Window(list):
    """A stream that keeps what is written."""

    def __init__(self, watched: bool):
        self.watched = watched

    def isatty(self) -> bool:
        return self.watched

    def write(self, text: str) -> None:
        self.append(text)

    def flush(self) -> None:
        pass


def steps(count: int) -> list[Step]:
    return [Step(step=step, total=count, loss=0.5, lr=1e-3, seconds=60) for step in range(1, count + 1)]


def test_progress_is_one_changing_line_on_a_terminal_and_few_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [Phase(name="Training"), *steps(100), Finished(step=100)]
    watched, unwatched = Window(True), Window(False)
    for window in (watched, unwatched):
        lines = Lines(window)  # type: ignore[arg-type]
        for event in events:
            lines.show(event)
    assert "".join(watched).count("\n") == 3 and "".join(watched).count("\r") == 100
    text = "".join(unwatched).splitlines()
    assert len(text) == 4  # the first step at once, the last one always
    assert (
        text[1].startswith("  step 1 of 100")
        and text[1].endswith("1.6 h left")
        and text[2].startswith("  step 100 of 100")
    )
    clock = iter(range(0, 10_000, 1))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    unwatched.clear()
    lines = Lines(unwatched)  # type: ignore[arg-type]
    for event in [Progress(done=done, total=40, what="pictures") for done in range(1, 41)]:
        lines.show(event)
    assert 40 / EVERY / 2 <= len(unwatched) < 40


@pytest.fixture
def wanted(make_job) -> TrainJob:
    return make_job()


def runner_of(events, tmp_path: Path) -> Runner:
    """A runner whose engine is the function given."""
    return Runner(tmp_path / "out", tmp_path / "queue.db", events)


def test_ctrl_c_asks_to_stop_and_the_second_one_ends(
    wanted: TrainJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def works(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        yield from steps(1)
        os.kill(os.getpid(), signal.SIGINT)
        assert control.stop
        yield Finished(step=1, reason="stopped")

    before = signal.getsignal(signal.SIGINT)
    assert run_job(runner_of(works, tmp_path), wanted) == (0, True)
    assert "Stopping after this step, and saving." in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before

    def hangs(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        yield from steps(1)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    assert run_job(runner_of(hangs, tmp_path), wanted) == (130, True)
    assert "Run the same job again to go on from the last checkpoint." in capsys.readouterr().err


def test_a_failure_ends_the_row_of_jobs_unless_it_is_told_to_recover(
    make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def works(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        done.append(job.name)
        yield Warned(message="careful")
        yield Failed(message="No.") if job.name == "bad" else Finished(step=1)

    monkeypatch.setattr("engine.running.Runner", lambda output: runner_of(works, tmp_path))
    bad, good = make_job(name="bad"), make_job(name="good")
    assert run_jobs([bad, good], None, restart=False, recover=False) == 1 and done == ["bad"]
    done.clear()
    assert run_jobs([bad, good], None, restart=False, recover=True) == 1 and done == ["bad", "good"]


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


# ---------------------------------------------------------------------------------------------- what has changed since


@pytest.fixture
def changed(make_job, pictures: Path, tmp_path: Path) -> TrainJob:
    """A run that was stopped, and whose data has changed since."""
    data = shutil.copytree(pictures, tmp_path / "cats")
    job = make_job(datasets=[{"path": str(data)}], sample__sample_every=None)
    control = Control()
    for event in Runner(tmp_path / "out").run(job, control):
        control.stop = event.kind == "step" and event.step == 2
    (data / "0.txt").write_text("something else")
    return job


def went(tmp_path: Path) -> list[str]:
    """What was told since it was stopped."""
    events = follow(RunFolder(tmp_path / "out" / "tiny").events)[0]
    stopped = next(index for index, event in enumerate(events) if event.kind == "finished")
    return [event.kind for event in events[stopped + 1 :] if event.kind in {"asked", "agreed", "step", "finished", "failed"}]


def state_of(tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "out" / "tiny" / "state"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["run", "resume"])
def test_where_nobody_can_answer_a_changed_run_does_not_go_on_unless_it_is_told_to(changed: TrainJob, tmp_path: Path, command: str) -> None:
    file, before = tmp_path / "job.yaml", state_of(tmp_path)
    file.write_text(dump_job(changed))
    words = (command, file if command == "run" else "tiny", "--output", tmp_path / "out")
    code, said, _ = call(*words)
    assert code == 1 and "the data set cats has other pictures or captions." in said and "--go-on" in said
    assert went(tmp_path) == ["failed"] and before and state_of(tmp_path) == before
    code, said, _ = call(*words, "--go-on")
    assert code == 0 and "It goes on with that." in said and said.count("Go on?") == 0
    assert went(tmp_path)[1:] == ["asked", "agreed", "step", "step", "finished"]


@pytest.mark.parametrize(("typed", "goes_on"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False), ("what?\n", False)])
def test_on_a_terminal_it_asks_and_only_a_yes_goes_on(
    changed: TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, goes_on: bool
) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, typed.encode())
    os.close(theirs)  # after what is typed, Ctrl-D
    before = state_of(tmp_path)
    with os.fdopen(ours) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr("engine.running.is_attended", lambda: True)
        assert run_job(Runner(tmp_path / "out"), changed) == (0, not goes_on)
    said = capsys.readouterr().out
    assert "has other pictures or captions. Go on with it, or stop?\nGo on? [y/N] " in said
    assert went(tmp_path) == (["asked", "agreed", "step", "step", "finished"] if goes_on else ["asked", "finished"])
    assert (state_of(tmp_path) == before) != goes_on


def test_ctrl_c_at_the_question_is_a_no(
    changed: TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours) as stdin, os.fdopen(theirs, "wb"):
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr("engine.running.is_attended", lambda: True)
        monkeypatch.setattr("engine.running.ask", lambda control: (ask(control), threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()))
        assert run_job(Runner(tmp_path / "out"), changed) == (0, True)
        assert went(tmp_path) == ["asked", "finished"]
        assert capsys.readouterr().err == "\nStopping. Ctrl-C again ends at once.\n"


def test_what_is_typed_when_another_window_has_answered_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in (True, False):
        ours, theirs = os.pipe()
        os.write(theirs, b"\n")
        os.close(theirs)
        control = Control(asked=asked, paused=True)
        with os.fdopen(ours) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            _answer(control)
        assert control.stop == asked


def test_it_asks_only_where_somebody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for typed, read in ((True, True), (True, False), (False, True), (None, True)):
        monkeypatch.setattr(sys, "stdin", None if typed is None else Window(typed))
        monkeypatch.setattr(sys, "stdout", Window(read))
        assert is_attended() == bool(typed and read)
