"""The command line, as a person uses it: exit codes, sentences, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
from engine.running import EVERY, Lines, run_job, run_jobs
from engine.runs.folder import RunFolder

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
        == "cat is finished already. Choose another name to do it again. Or give --name, or --restart.\n"
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
        "train": {"do_prior_divergence": True},
    }
    (tmp_path / "job.yaml").write_text(
        yaml.safe_dump({"job": "extension", "config": {"name": "cat", "process": [process]}})
    )
    code, _, errors = call("check", tmp_path / "job.yaml")
    assert (
        code == 0
        and "Warning: train.do_prior_divergence is not supported yet and is left out: the result will differ." in errors
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
