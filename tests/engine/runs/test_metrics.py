"""metrics.csv: what is in it, and that a run that goes on has each step in it once."""

from __future__ import annotations

import csv

from engine.events import Measured, Phase, Step
from engine.jobs import load_job
from engine.runs.folder import RunFolder
from engine.runs.metrics import kept, read_metrics
from engine.runs.points import go_back

JOB = {"kind": "train", "name": "cats", "model": {"name_or_path": "base"}, "datasets": [{"path": "cats"}]}


def step(number: int) -> Step:
    return Step(step=number, total=9, loss=number / 7, lr=1e-4, seconds=0.5, memory=1 << 30, time=1000.0 + number)


def test_a_row_holds_the_figures_of_a_step_exactly_and_measurements_have_rows_of_their_own(tmp_path):
    path = tmp_path / "metrics.csv"
    events = [
        Phase(name="Training"),
        step(1),
        Measured(step=1, name="validation loss", value=0.1),
        Measured(step=1, name="psnr", value=3.0),
    ]
    assert list(kept(path, events, 0)) == events
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:7] == ["step", "time", "loss", "lr", "seconds", "memory", "validation"]
    assert [float(cell) for cell in rows[1][:6]] == [1, 1001.0, 1 / 7, 1e-4, 0.5, 1 << 30] and not any(rows[1][6:])
    assert rows[2][0] == "1" and rows[2][2:7] == ["", "", "", "", "0.1"] and not any(rows[2][7:]) and len(rows) == 3


def test_a_row_is_there_before_its_event_is_told(tmp_path):
    for event in kept(tmp_path / "metrics.csv", [step(1), step(2)], 0):
        assert read_metrics(tmp_path / "metrics.csv")[-1]["step"] == str(event.step)


def test_a_run_that_goes_on_from_an_earlier_step_has_each_step_once(tmp_path):
    path = tmp_path / "metrics.csv"
    list(kept(path, map(step, range(1, 6)), 0))
    with path.open("a") as file:
        file.write("6,10")  # killed in the middle of a row
    list(kept(path, map(step, range(4, 8)), 3))
    assert [row["step"] for row in read_metrics(path)] == list("1234567")


def test_going_back_takes_the_rows_of_later_steps_out_before_the_run_goes_on(tmp_path):
    folder = RunFolder.create(tmp_path, load_job(JOB))
    list(kept(folder.metrics, map(step, range(1, 6)), 0))
    (folder.path / f"{folder.name}_000000003.safetensors").touch()
    go_back(folder, 3)
    assert [row["step"] for row in read_metrics(folder.metrics)] == list("123")


def test_a_file_that_is_no_table_of_ours_is_replaced(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("a,b\n1,2\n")
    list(kept(path, [step(1)], 0))
    assert [row["step"] for row in read_metrics(path)] == ["1"]


def test_rows_of_an_older_program_keep_what_they_have(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,time,loss,lr,seconds,memory,validation\n1,1001.0,0.5,0.0001,0.5,7,\n1,1001.0,,,,,0.25\n")
    list(kept(path, [step(2)], 1))
    rows = read_metrics(path)
    assert [(row["step"], row["loss"][:3], row["validation"], row["tflops"]) for row in rows] == [
        ("1", "0.5", "", ""),
        ("1", "", "0.25", ""),
        ("2", "0.2", "", ""),
    ]
