"""The command line: exit codes, and sentences."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from calling import call

from engine.__main__ import main

ROOT = Path(__file__).resolve().parents[3]


def test_help_is_there_without_anything_heavy() -> None:
    script = (
        "import sys, engine.cli; print([name for name in ('torch', 'pydantic', 'diffusers', 'gradio', 'numpy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"
    code, said, _ = call("--help")
    assert code == 0 and "launch.sh test" in said
    for command in ("run", "check", "families", "doctor", "lora"):
        assert command in said
        assert call(command, "--help")[0] == 0


def test_the_program_sets_what_torch_must_find_before_it_is_imported() -> None:
    script = "import runpy, sys; sys.argv = ['x', '--help']\ntry: runpy.run_module('engine', run_name='__main__')\nfinally: import os; print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True).stdout.endswith(
        "PASSIVE\n"
    )


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
    assert code == 2 and "problem  black-forest-labs/FLUX.1-dev is not on this computer, and the hub cannot be reached." in said


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
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({"job": "extension", "config": {"name": "cat", "process": [process]}}))
    code, _, errors = call("check", tmp_path / "job.yaml")
    assert code == 0 and "Warning: train.content_or_style_reg is not supported yet and is left out: the result will differ." in errors


def test_the_doctor_looks_at_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    code, said, _ = call("doctor")
    assert code == 0, said
    assert said.startswith("ok       Darkroom ") and said.endswith("\nAll is well.\n") and "Family flux can be loaded" in said
    monkeypatch.setattr("engine.doctor.examine", lambda: [SimpleNamespace(ok=False, message="The disk is full.")])
    assert call("doctor")[:2] == (1, "problem  The disk is full.\n\n1 to look at.\n")


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


def test_a_job_error_is_a_sentence_and_exit_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "check", "nowhere.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "There is no file nowhere.yaml. Check the path; presets are in presets/train.\n"
