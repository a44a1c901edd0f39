"""Data sets on the command line: every command, on real files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from calling import call
from PIL import Image

from engine.settings import load_settings, save_settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures: one comes twice, one has no caption, one is broken."""
    folder = tmp_path / "my cats"
    folder.mkdir()
    for name, colour in (("one", "red"), ("two", "blue")):
        Image.new("RGB", (96, 64), colour).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"a {colour} field")
    shutil.copy(folder / "one.png", folder / "again.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


@pytest.fixture
def own(folder: Path, home: Path) -> Path:
    """The same as a data set of the app."""
    return shutil.copytree(folder, load_settings().folder("datasets") / "cats")


def test_a_report_says_what_is_wrong_and_counts(folder: Path) -> None:
    code, said, _ = call("data", "report", folder)
    lines = said.splitlines()
    assert code == 2 and lines[0] == f"{folder}: 4 pictures, 2 captions"
    assert any(line.startswith("problem") and line.endswith("(data fix --kind caption)") for line in lines)
    assert any("broken.png (it is not a picture" in line and line.endswith("(data fix --kind unreadable)") for line in lines)
    assert "  3:2        3  ##############################" in lines
    assert {"megapixels", "shapes", "sizes", "length of captions", "words"} <= set(lines)
    assert "buckets" in call("data", "report", folder, "--base", "assets/starter")[1].splitlines()
    code, said, _ = call("data", "report", folder, "--json")
    [report] = json.loads(said)
    assert code == 2 and report["counts"]["pictures"] == 4 and {"caption", "duplicate"} <= {one["kind"] for one in report["findings"]}
    for name in ("again", "broken"):
        (folder / f"{name}.png").unlink()
    code, said, _ = call("data", "report", folder, "--trigger", "zcat")
    assert code == 0 and "zcat" in said


def test_a_report_on_a_job_looks_at_all_its_data_sets(folder: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    data = [{"path": str(folder), "resolution": size} for size in (64, 96)]
    job.write_text(json.dumps({"name": "x", "model": {"name_or_path": "assets/starter"}, "datasets": data}))
    code, said, _ = call("data", "report", job)
    assert code == 2 and said.count("4 pictures, 2 captions") == 2
    job.write_text(json.dumps({"kind": "caption", "name": "x", "path": str(folder), "captioner": {"type": "file_name"}}))
    assert call("data", "report", job) == (2, "", f"{job} is a caption job. Only data sets of a training are looked at.")


def test_what_is_mended_is_said_before_done_and_taken_back(own: Path) -> None:
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    code, planned, _ = call("data", "fix", own, "--kind", "unreadable", "--kind", "caption", "--dry-run")
    assert code == 0 and "broken.png goes." in planned and "again.png is called 'again'." in planned
    assert {path.name: path.read_bytes() for path in own.iterdir() if path.is_file()} == before
    code, said, _ = call("data", "fix", own, "--kind", "caption", "--template", "a {name} field")
    assert code == 0 and str(own) in said and (own / "again.txt").read_text().strip() == "a again field"
    assert call("data", "undo", own)[1].startswith("Taken back in 2 files: ")
    assert {path.name: path.read_bytes() for path in own.iterdir() if path.is_file()} == before
    assert call("data", "undo", own)[0] == 2
    assert call("data", "fix", own, "--kind", "everything")[0] == 2


def test_a_folder_of_somebody_is_mended_as_a_copy(folder: Path, tmp_path: Path) -> None:
    assert "--to" in call("data", "fix", folder, "--kind", "unreadable")[2] and (folder / "broken.png").exists()
    code, said, _ = call("data", "fix", folder, "--kind", "unreadable", "--to", tmp_path / "mended")
    assert code == 0 and str(tmp_path / "mended") in said
    assert not (tmp_path / "mended" / "broken.png").exists() and (folder / "broken.png").exists()


def test_a_data_set_goes_into_a_zip_and_comes_back(folder: Path, tmp_path: Path, home: Path) -> None:
    archive = tmp_path / "cats.zip"
    assert call("data", "export", folder, "--output", archive) == (0, f"{archive}\n", "")
    code, said, _ = call("data", "import", archive, "--name", "kittens")
    back = load_settings().folder("datasets") / "kittens"
    assert code == 0 and said.endswith(f"6 files in {back}\n")
    assert {path.name for path in back.iterdir() if path.is_file()} == {path.name for path in folder.iterdir()}
    (tmp_path / "no.zip").write_text("text")
    assert call("data", "import", tmp_path / "no.zip")[0] == 2


def test_caches_are_shown_and_make_room(home: Path) -> None:
    place = load_settings().folder("cache")
    code, said, _ = call("data", "cache")
    assert code == 0 and said.splitlines()[0] == str(place) and said.splitlines()[-1] == "cache_limit_gb: 50"
    save_settings(load_settings().model_copy(update={"cache_limit_gb": None}))
    code, said, hint = call("data", "cache", "--clean")
    assert code == 2 and said.splitlines()[-1] == "cache_limit_gb: no limit" and hint == "There is no limit to clean down to. Give --to."
    assert "0 deleted, 0.00 GB freed, 0.00 GB left." in call("data", "cache", "--clean", "--to", 0)[1]
