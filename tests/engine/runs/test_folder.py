"""The run folder: names, the log that survives a kill, checkpoints and samples in order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import JobError
from engine.events import Failed, Phase, Saved, Step, parse_event
from engine.jobs import Job, load_job
from engine.runs.folder import RunFolder, slug


def a_job(name: str = "cats", steps: int = 10) -> Job:
    return load_job(
        {
            "kind": "train",
            "name": name,
            "model": {"name_or_path": "base"},
            "datasets": [{"path": "cats"}],
            "train": {"steps": steps},
        }
    )


def test_a_new_run_holds_its_job_with_every_default(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, a_job())
    assert folder.path == tmp_path / "cats" and folder.job() == a_job()
    assert "max_grad_norm: 1.0" in folder.config.read_text()


def test_a_name_that_is_taken_is_refused_unless_it_may_be(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, a_job())
    with pytest.raises(JobError, match="already a run named cats"):
        RunFolder.create(tmp_path, a_job())
    assert RunFolder.create(tmp_path, a_job(steps=20), exist_ok=True).job() == a_job(steps=20)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("my cat", "my_cat"),
        ("Käthe 2", "Käthe_2"),
        ("v1.5+x-y", "v1.5+x-y"),
        ("../../etc", "etc"),
        ("a/b", "a_b"),
        ("trailing.", "trailing"),
        ("con", "con_run"),
        ("NUL.txt", "NUL.txt_run"),
        ("samples", "samples_run"),
    ],
)
def test_a_name_becomes_a_folder_that_every_system_can_hold(name: str, folder: str) -> None:
    assert slug(name) == folder


def test_a_name_without_a_letter_is_refused() -> None:
    with pytest.raises(JobError, match="cannot be the name of a folder"):
        slug("...")


def test_a_link_that_leads_out_of_the_output_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "cats").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JobError, match="leads out of"):
        RunFolder.create(tmp_path / "out", a_job())


def test_an_output_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file, not a folder")
    with pytest.raises(JobError, match=r"cannot be written.*another output folder"):
        RunFolder.create(tmp_path / "out", a_job())


def test_what_happens_is_in_both_logs_when_append_returns(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, a_job())
    events = [
        Phase(name="Training"),
        Step(step=1, total=2, loss=0.1, lr=1e-4, seconds=0.5),
        Failed(message="No.", detail="line 1\nline 2"),
    ]
    for event in events:
        folder.append(event)
    assert [parse_event(line) for line in folder.events.read_bytes().splitlines()] == events
    assert "step 1 of 2  loss 0.1000" in folder.log.read_text() and "line 2" in folder.log.read_text()


def test_after_half_a_line_of_a_killed_process_a_new_line_begins(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, a_job())
    folder.events.write_bytes(b'{"kind":"phase","na')
    folder.append(Phase(name="Training"))
    folder.append(Phase(name="Sampling"))
    half, *whole = folder.events.read_bytes().splitlines()
    assert half == b'{"kind":"phase","na' and [parse_event(line).name for line in whole] == [
        "Training",
        "Sampling",
    ]


def test_checkpoints_come_in_order_and_the_final_one_last(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, a_job("my.run"))
    assert folder.checkpoints() == []
    assert folder.checkpoint_path(5).name == "my.run_000000005.safetensors" and folder.final_path.name == "my.run.safetensors"
    for step in (20, 5):
        folder.checkpoint_path(step).touch()
    (folder.path / "my.run_000000010").mkdir()  # a whole model
    folder.final_path.touch()
    for other in (
        "my.run_000000030.safetensors.bak",
        "my.run_000000050",
        "other_000000001.safetensors",
        ".my.run_000000040.safetensors",
    ):
        (folder.path / other).touch()
    folder.append(Saved(step=25, path=Path("my.run.safetensors"), final=True))
    found = folder.checkpoints()
    assert [(c.step, c.final) for c in found] == [(5, False), (10, False), (20, False), (25, True)]
    assert found[1].path.is_dir() and found[3].path == folder.final_path


def test_final_weights_without_a_log_are_as_new_as_the_newest(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, a_job())
    folder.checkpoint_path(20).touch()
    folder.final_path.with_suffix("").mkdir()
    assert folder.checkpoints()[-1].step == 20 and folder.checkpoints()[-1].final


def test_samples_are_found_by_step_and_index(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, a_job())
    later = folder.sample_path(20, 0, "a cat", "jpg")
    first, second = folder.sample_path(0, 0, "a cat", ".jpg"), folder.sample_path(0, 1, "a dog", "png")
    assert later.name == "000000020_00_" + first.name[13:] and first.name[13:21] != second.name[13:21]
    for path in (later, second, first, folder.samples / "notes.txt"):
        path.touch()
    assert [(s.step, s.index, s.path) for s in folder.list_samples()] == [
        (0, 0, first),
        (0, 1, second),
        (20, 0, later),
    ]


def test_folders_and_queue_work_where_torch_is_not_loaded() -> None:
    code = "import sys, engine.runs.folder, engine.queue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
