from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pictures import draw

from engine.data.files.listing import list_files
from engine.data.report import findings
from engine.data.scan import Item, scan
from engine.errors import JobError
from engine.events import Warned
from engine.jobs import Dataset


def test_items_come_by_name_with_size_caption_and_trigger(tmp_path):
    b = draw(tmp_path / "b.png", (64, 32), caption="a [trigger] in 1,000 colours\n")
    a = draw(tmp_path / "A é.PNG", (20, 30), caption="plain")
    assert scan(Dataset(path=str(tmp_path)), trigger="zwx", index=3) == [
        Item(a, 20, 30, "plain", 3, False),
        Item(b, 64, 32, "a zwx in 1,000 colours", 3, False),
    ]


def test_flip_x_gives_each_picture_mirrored_as_well(tmp_path):
    draw(tmp_path / "a.png", caption="a")
    draw(tmp_path / "b.png", caption="b")
    items = scan(Dataset(path=str(tmp_path), flip_x=True))
    assert [(item.caption, item.flip) for item in items] == [
        ("a", False),
        ("a", True),
        ("b", False),
        ("b", True),
    ]


def test_the_default_caption_stands_in_and_takes_the_trigger(tmp_path):
    draw(tmp_path / "a.png", caption="  \n")
    draw(tmp_path / "b.png")
    draw(tmp_path / "c.png", caption="own")
    captions = [item.caption for item in scan(Dataset(path=str(tmp_path), default_caption="a [trigger]"), "zwx")]
    assert captions == ["a zwx", "a zwx", "own"]
    assert [item.caption for item in scan(Dataset(path=str(tmp_path), default_caption=""))] == ["", "", "own"]


def test_missing_captions_are_named(tmp_path):
    for index in range(8):
        draw(tmp_path / f"{index}.png", caption="here" if index == 0 else None)
    with pytest.raises(JobError) as caught:
        scan(Dataset(path=str(tmp_path)))
    assert "7 pictures have no caption" in caught.value.message
    assert f"{tmp_path.name}/5.png and 2 more" in caught.value.message
    assert "default_caption" in caught.value.hint and ".txt" in caught.value.hint


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(JobError, match="There are no pictures in"):
        scan(Dataset(path=str(tmp_path)))
    (tmp_path / "IMG_1.HEIC").touch()
    with pytest.raises(JobError, match="HEIC"):
        scan(Dataset(path=str(tmp_path)))
    with pytest.raises(JobError, match="There is no folder"):
        scan(Dataset(path=str(tmp_path / "nowhere")))


def test_broken_pictures_are_named_and_left_out(tmp_path):
    good = draw(tmp_path / "good.png", caption="good")
    (tmp_path / "bad.png").write_text("text")
    (tmp_path / "empty.jpg").touch()
    notes: list[Warned] = []
    assert [item.path for item in scan(Dataset(path=str(tmp_path)), notes=notes)] == [good], (
        "of those that are left out no caption is asked"
    )
    assert re.match(r"2 files cannot be read, and are left out: .*bad.png \(.*empty.jpg \(it is empty\)", notes[0].message)
    good.unlink()
    with pytest.raises(JobError, match=r"^None of the 2 pictures can be read: .*bad.png \(.*empty.jpg \(it is empty\)"):
        scan(Dataset(path=str(tmp_path)))
    (tmp_path / "empty.jpg").unlink()
    with pytest.raises(JobError, match=f"^{tmp_path.name}/bad.png cannot be read"):
        scan(Dataset(path=str(tmp_path)))


def test_pictures_that_cannot_be_read_here_are_told_beside_good_ones(tmp_path):
    draw(tmp_path / "a.png", caption="a")
    for name in ("IMG_1.HEIC", "b.psd"):
        (tmp_path / name).touch()
    notes: list[Warned] = []
    assert len(scan(Dataset(path=str(tmp_path)), notes=notes)) == 1
    [note] = notes
    assert note.message == f"2 pictures are left out: {tmp_path.name}/IMG_1.HEIC, {tmp_path.name}/b.psd." and "HEIC, PSD" in note.hint


def test_a_caption_that_changes_is_seen_at_once_and_one_in_capitals_too(tmp_path):
    draw(tmp_path / "a.png", caption="first")
    assert [item.caption for item in scan(Dataset(path=str(tmp_path)))] == ["first"]
    stamp = (tmp_path / "a.txt").stat()
    (tmp_path / "a.txt").write_text("other")
    os.utime(tmp_path / "a.txt", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert [item.caption for item in scan(Dataset(path=str(tmp_path)))] == ["other"]
    (tmp_path / "a.txt").rename(tmp_path / "a.TXT")
    assert [item.caption for item in scan(Dataset(path=str(tmp_path)))] == ["other"]


def test_the_pictures_of_folders_come_in_the_order_of_the_folders_names(tmp_path):
    for name in ("a-b/1.png", "a/b.png", "a.png", "a/a/z.png", "_controls/x.png", ".hidden/y.png"):
        draw(tmp_path / name, caption="x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    found = [item.path.relative_to(tmp_path).as_posix() for item in scan(Dataset(path=str(tmp_path)))]
    assert found == ["a/a/z.png", "a/b.png", "a-b/1.png", "a.png"]
    assert [Path(path).relative_to(tmp_path).as_posix() for path, _ in list_files(tmp_path).pictures] == found


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_nothing_waits_for_a_pipe_that_has_the_name_of_a_caption(tmp_path):
    draw(tmp_path / "a.png")
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(JobError, match="no caption"):
        scan(Dataset(path=str(tmp_path)))


def test_a_folder_inside_the_home_is_found_by_its_relative_path(home):
    draw(home / "datasets" / "cats" / "a.png", caption="a")
    assert scan(Dataset(path="datasets/cats"))[0].path == home / "datasets" / "cats" / "a.png"


def test_nothing_is_written_beside_the_pictures(tmp_path):
    draw(tmp_path / "a.png", caption="a")
    before = sorted(tmp_path.rglob("*"))
    tmp_path.chmod(0o555)
    try:
        scan(Dataset(path=str(tmp_path)))
        findings(tmp_path)
    finally:
        tmp_path.chmod(0o755)
    assert sorted(tmp_path.rglob("*")) == before


@contextmanager
def ordinary_user() -> Iterator[Path]:
    """Inside, the program runs as a user whom locks stop; gives a folder that this user can reach."""
    if os.name == "nt":
        pytest.skip("Windows locks folders in another way")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    root = os.geteuid() == 0
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


def become_ordinary() -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)


def test_what_is_locked_is_named(monkeypatch):
    with ordinary_user() as folder:
        home = folder / "home"
        home.mkdir()
        home.chmod(0o777)
        monkeypatch.setenv("DARKROOM_HOME", str(home))
        draw(folder / "open" / "a.png", caption="a")
        draw(folder / "locked" / "a.png", caption="a")
        draw(folder / "inside" / "deep" / "a.png", caption="a")
        draw(folder / "file" / "a.png", caption="a")
        draw(folder / "caption" / "a.png", caption="a")
        locked = [folder / "locked", folder / "inside/deep", folder / "file/a.png", folder / "caption/a.txt"]
        for path in locked:
            path.chmod(0)
        become_ordinary()
        assert scan(Dataset(path=str(folder / "open")))
        for name, message in {
            "locked": r"The folder .*locked is locked",
            "inside": r"The folder .*deep is locked",
            "file": r"file/a.png cannot be read: it is locked",
            "caption": r"The caption caption/a.txt cannot be read: Permission denied",
        }.items():
            with pytest.raises(JobError, match=message):
                scan(Dataset(path=str(folder / name)))
        os.seteuid(os.getuid())
        for path in locked:
            path.chmod(0o755)
