from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pictures import draw
from PIL import Image

from engine.data.files import notes, pictures
from engine.data.files.facts import look_at
from engine.data.report import findings
from engine.errors import JobError


def told(folder: Path, **options) -> dict[str, tuple[str, str, list[str]]]:
    """Findings by kind: level, message, names."""
    found = findings(folder, **options)
    assert len({finding.kind for finding in found}) == len(found)
    return {finding.kind: (finding.level, finding.message, [path.name for path in finding.files]) for finding in found}


def age(folder: Path, seconds: float = 10) -> None:
    """As if the files had been there for a while; needed where the clock of the disk is looked at."""
    for path in folder.iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def settled(monkeypatch):
    """Files are remembered at once, however new they are."""
    monkeypatch.setattr(notes, "SETTLED", -1000.0)


def test_a_good_folder_is_said_to_be_good(tmp_path):
    for index in range(3):
        draw(tmp_path / f"{index}.png", (64, 64), (index, 0, 0), caption=f"a {index}")
    assert {kind: finding[:2] for kind, finding in told(tmp_path, resolution=64).items()} == {
        "unreadable": ("ok", "All 3 pictures can be read."),
        "small": ("ok", "All 3 pictures are large enough for 64 × 64 pixels."),
        "caption": ("ok", "All 3 pictures have captions."),
        "duplicate": ("ok", "No picture comes twice."),
    }


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    draw(tmp_path / "a.png", (64, 64), caption="a")
    draw(tmp_path / "again.png", (64, 64), caption="a")
    draw(tmp_path / "bare.png", (64, 64), "blue")
    draw(tmp_path / "blank.png", (65, 64), "blue", caption=" \n")
    draw(tmp_path / "odd.png", (64, 64), "lime").with_suffix(".txt").write_bytes("é".encode("cp1252"))
    draw(tmp_path / "small.png", (64, 32), caption="a")
    draw(tmp_path / "cut.png", (64, 64), caption="a")
    Image.effect_noise((64, 64), 90).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-400])
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "text.txt").write_text("a")
    (tmp_path / "phone.heic").touch()
    found = told(tmp_path, resolution=64)
    assert {kind: finding[2] for kind, finding in found.items()} == {
        "foreign": ["phone.heic"], "unreadable": ["text.jpg"], "cut": ["cut.png"], "small": ["small.png"],
        "caption": ["bare.png", "blank.png"], "encoding": ["odd.png"], "duplicate": ["again.png"], "repeated": ["again.png", "cut.png", "small.png", "text.jpg"],
    }  # fmt: skip
    # the broken ones are left out of a training
    assert {kind for kind, (level, _, _) in found.items() if level == "problem"} == {"caption"}
    assert found["unreadable"][1] == "1 picture cannot be read: text.jpg (it is not a picture, or a badly damaged one)."
    assert found["cut"][1].startswith("1 picture is cut off, and its end is missing: cut.png (")
    assert found["small"][1] == "1 picture is smaller than 64 × 64 pixels and is trained at its own size."
    assert found["caption"][1] == "2 pictures have no caption (1 file is there and empty)."
    assert found["duplicate"][1] == "1 picture comes twice: again.png is a.png again."


def test_a_picture_too_small_for_any_training_is_told_apart(tmp_path):
    draw(tmp_path / "a.png", (64, 8), caption="a")
    assert told(tmp_path)["tiny"] == (
        "problem",
        "1 picture is too small to train on: a side has under 16 pixels.",
        ["a.png"],
    )


def test_an_empty_folder_is_a_finding_and_a_missing_one_an_error(tmp_path):
    assert told(tmp_path) == {"empty": ("look", "There are no pictures yet.", [])}
    with pytest.raises(JobError):
        findings(tmp_path / "nowhere")


def test_what_was_found_out_is_not_found_out_again(tmp_path, settled, monkeypatch):
    for index in range(3):
        draw(tmp_path / f"{index}.png", (64, 64), (index, 0, 0), caption="a")
    first = findings(tmp_path)
    monkeypatch.setattr(Image.Image, "load", None)
    assert findings(tmp_path) == first


def test_a_picture_that_changes_is_looked_at_again(tmp_path, settled):
    draw(tmp_path / "a.png", (64, 64), caption="a")
    assert told(tmp_path)["unreadable"][0] == "ok"
    size = (tmp_path / "a.png").stat()
    (tmp_path / "a.png").write_bytes(b"x" * size.st_size)
    os.utime(tmp_path / "a.png", ns=(size.st_atime_ns, size.st_mtime_ns))
    assert told(tmp_path)["unreadable"][0] == "problem", "the same size and time do not make it the same file"


def test_a_link_to_nothing_is_told_and_never_remembered(tmp_path, settled):
    (tmp_path / "a.png").symlink_to(tmp_path / "b.jpeg.missing")
    assert "a link to a file that is gone" in told(tmp_path)["unreadable"][1]
    draw(tmp_path / "real" / "x.png", (64, 64)).rename(tmp_path / "b.jpeg.missing")
    assert told(tmp_path)["unreadable"][0] == "ok"


def test_a_large_jpeg_that_is_cut_off_is_found(tmp_path):
    Image.effect_noise((1600, 1200), 60).save(tmp_path / "a.jpg")
    assert look_at(tmp_path / "a.jpg").fault == ""
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) * 9 // 10])
    assert look_at(tmp_path / "a.jpg").fault == "cut"


def test_looking_at_a_folder_loads_no_torch():
    code = "import engine.data.report, sys; assert not {'torch', 'gradio', 'transformers'} & set(sys.modules), 'loaded'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(pictures.__file__).parents[3])
