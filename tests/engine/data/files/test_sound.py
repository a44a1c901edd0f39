"""Pictures whose head is well and whose end is missing: named, and left out; the good ones train."""

from __future__ import annotations

from pathlib import Path

import pytest
from phases import ended
from pictures import draw
from PIL import Image

from engine.control import Control
from engine.data.files.sound import whole_items
from engine.data.scan import Item, scan
from engine.errors import JobError
from engine.events import Event
from engine.jobs import Dataset


def cut(path: Path, caption: str | None = None) -> Path:
    """A JPEG without its second half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((96, 96), 80).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if caption:
        path.with_suffix(".txt").write_text(caption)
    return path


def looked_through(items: list[Item]) -> tuple[list[Event], list[Item]]:
    return ended(whole_items(items, Control()))


def test_a_picture_that_is_cut_off_is_left_out_and_told_and_its_file_stays_as_it_is(tmp_path):
    good, bad = draw(tmp_path / "a.png", caption="a"), cut(tmp_path / "b.jpg", "b")
    before = bad.read_bytes(), bad.stat().st_mtime_ns
    for _ in range(2):
        (told,), items = looked_through(scan(Dataset(path=str(tmp_path))))
        assert [item.path for item in items] == [good]
        assert (
            told.kind == "warned" and "1 file cannot be read, and is left out" in told.message and f"{tmp_path.name}/b.jpg" in told.message
        )
    assert (bad.read_bytes(), bad.stat().st_mtime_ns) == before


def test_a_broken_mask_takes_its_picture_along(tmp_path):
    for name in ("a", "b"):
        draw(tmp_path / "data" / f"{name}.png", caption=name)
        draw(tmp_path / "masks" / f"{name}.png", mode="L", colour=255)
    (tmp_path / "masks" / "b.png").unlink()
    cut(tmp_path / "masks" / "b.jpg")
    events, items = looked_through(scan(Dataset(path=str(tmp_path / "data"), mask_path=str(tmp_path / "masks"))))
    assert [item.path.name for item in items] == ["a.png"]
    assert "masks/b.jpg" in events[0].message and "1 picture that needs them is left out too" in events[1].message


def test_where_nothing_is_left_that_is_an_error(tmp_path):
    cut(tmp_path / "b.jpg", "b")
    with pytest.raises(JobError, match="No picture is left to learn from: .*b.jpg"):
        looked_through(scan(Dataset(path=str(tmp_path))))


def test_a_run_goes_on_with_the_good_ones(make_job, run, tmp_path):
    folder = tmp_path / "data"
    draw(folder / "a.png", (64, 64), caption="a")
    draw(folder / "é 😀 'b'.png", (64, 64), caption="b")
    cut(folder / "cut.jpg", "c")
    (folder / "empty.png").touch()
    events = run(make_job(datasets=[{"path": str(folder)}], sample__sample_every=None))
    told = " ".join(event.message for event in events if event.kind == "warned")
    assert events[-1].kind == "finished" and "data/cut.jpg" in told and "data/empty.png (it is empty)" in told
