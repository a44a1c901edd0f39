"""Reference pictures: each picture's mates, in the order of their folders; one that is missing is told before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from engine.data.scan import scan
from engine.errors import JobError
from engine.jobs import Dataset


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32)).save(path)
    path.with_suffix(".txt").write_text("words")
    return path


def dataset(folder: Path, *controls: str) -> Dataset:
    return Dataset(path=str(folder / "data"), control_path=[str(folder / name) for name in controls])


def test_mates_have_the_same_path_and_any_ending_and_keep_their_order(tmp_path: Path) -> None:
    for name in ("one.png", "sub/one.jpg"):
        picture(tmp_path / "data" / name)
    before = [picture(tmp_path / "b" / "one.webp"), picture(tmp_path / "b" / "sub" / "one.png")]
    masks = [picture(tmp_path / "a" / "one.png"), picture(tmp_path / "a" / "sub" / "one.png")]
    picture(tmp_path / "a" / "another.png")
    items = scan(dataset(tmp_path, "b", "a"))
    assert [item.controls for item in items] == list(zip(before, masks))
    assert [item.controls for item in scan(dataset(tmp_path))] == [(), ()]


def test_a_missing_mate_is_an_error_that_names_the_picture(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "one.png")
    picture(tmp_path / "data" / "two.png")
    picture(tmp_path / "a" / "one.png")
    with pytest.raises(JobError, match=r"1 picture has no reference picture in .*a: data/two\.png"):
        scan(dataset(tmp_path, "a"))
    with pytest.raises(JobError, match="There is no folder"):
        scan(dataset(tmp_path, "nowhere"))
