"""Jobs from files, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import JobError
from engine.jobs import TrainJob, dump_job, load_job, load_job_with_notes

SMALL = "name: cat\nmodel: {name_or_path: assets/starter}\ndatasets: [{path: pictures}]\n"


def test_a_job_is_read_and_written_as_what_differs_from_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(SMALL + "train: {lr: 1e-3, steps: 7}\n")
    job = load_job(tmp_path / "job.yaml")
    assert isinstance(job, TrainJob) and job.train.lr == 1e-3
    text = dump_job(job)
    assert "steps: 7" in text and "batch_size" not in text
    (tmp_path / "again.yaml").write_text(text)
    assert load_job(tmp_path / "again.yaml") == job
    (tmp_path / "all.yaml").write_text(dump_job(job, defaults=True))
    assert load_job(tmp_path / "all.yaml") == job


def test_json_with_tabs_is_read_too(tmp_path: Path) -> None:
    data = {"name": "cat", "model": {"name_or_path": "m"}, "datasets": [{"path": "p"}]}
    (tmp_path / "job.json").write_text(json.dumps(data, indent="\t"))
    assert load_job(tmp_path / "job.json").name == "cat"


def test_a_name_given_from_outside_wins_and_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(SMALL)
    assert load_job_with_notes(tmp_path / "job.yaml", "dog")[0].name == "dog"
    with pytest.raises(JobError, match="name may have letters"):
        load_job_with_notes(tmp_path / "job.yaml", "../dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: cat\nmodel: [cat", "job.yaml is not valid YAML in line 2"),
        ("- cat", "job.yaml is not a job"),
        ("", "job.yaml is not a job"),
        ("kind: trian\nname: cat", "job.yaml is of kind 'trian', which is not known. Did you mean train?"),
        ("kind: [train]\nname: cat", "job.yaml is of kind"),
        (SMALL + "train: {setps: 3}", "job.yaml: train.setps is not a known key. Did you mean steps?"),
        (SMALL + "prompt: ${HOME}", "prompt is not a known key"),
        ("\x00", "job.yaml is not valid YAML"),
    ],
)
def test_a_file_that_is_no_job_says_so_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(JobError) as caught:
        load_job(tmp_path / "job.yaml")
    assert message in str(caught.value) and caught.value.hint


def test_a_file_that_is_not_there_or_not_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"There is no file .*none\.yaml"):
        load_job(tmp_path / "none.yaml")
    (tmp_path / "job.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(JobError, match="cannot be read"):
        load_job(tmp_path / "job.yaml")
    (tmp_path / "job.json").write_text("{,}")
    with pytest.raises(JobError, match="not valid JSON"):
        load_job(tmp_path / "job.json")
    with pytest.raises(JobError, match="cannot be read"):
        load_job(tmp_path)


def test_a_native_job_takes_its_text_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLOUR", "red")
    (tmp_path / "job.yaml").write_text(SMALL + "sample: {prompts: ['a ${COLOUR} [name]']}\n")
    job = load_job(tmp_path / "job.yaml")
    assert isinstance(job, TrainJob) and job.sample.prompts == ["a ${COLOUR} [name]"]
