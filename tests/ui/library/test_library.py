"""A data set that is there: its captions, what is taken out and put back, and what is seen of it."""

from __future__ import annotations

import os

import pytest
from pictures import draw
from PIL import Image
from uploads import contents, everything, png

from engine.errors import JobError

# -- captions --------------------------------------------------------------------------------------------------------------


def test_a_caption_is_saved_and_taken_away(library, key):
    file = library.root / "x" / "a.txt"
    library.write_caption(key, "  new ü\n")
    assert file.read_bytes() == "new ü\n".encode()
    library.write_caption(key, " \n")
    assert not file.exists() and library.caption(library.picture(key)) == ""


def test_a_caption_is_saved_whole_or_not_at_all(library, key, monkeypatch):
    """The disk is full, or the process dies, between writing and renaming."""

    def refuse(*_):
        raise OSError(28, "No space left on device")

    before = everything(library.root)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError):
        library.write_caption(key, "new")
    assert everything(library.root) == before


def test_a_caption_that_did_not_change_is_not_written(library, key):
    file = library.root / "x" / "a.txt"
    os.utime(file, (1, 1))
    library.write_caption(key, "old ")
    assert file.stat().st_mtime == 1


def test_the_trigger_is_put_in_front_only_where_it_is_not_said(library, inbox):
    name = library.create("x")
    uploads = []
    for stem, text in (("a", "a cat"), ("b", "[trigger] sits"), ("c", "my ZWX here"), ("d", None)):
        uploads.append(draw(inbox / f"{stem}.png", colour=(ord(stem), 0, 0), caption=text))
        uploads += [inbox / f"{stem}.txt"] if text else []
    library.add(name, uploads)
    assert library.put_trigger_first(name, "zwx") == 1
    assert list(contents(library, name).values()) == ["[trigger], a cat", "[trigger] sits", "my ZWX here", ""]


# -- taking out and putting back -------------------------------------------------------------------------------------------


def test_a_deleted_picture_comes_back_with_its_caption(library, key):
    before = everything(library.root)
    gone = library.delete([key])
    assert library.pictures("x") == [] and not (library.root / "x" / "a.txt").exists()
    library.undo(gone)
    assert everything(library.root) == before
    library.undo(gone)  # once more does no harm
    assert everything(library.root) == before


def test_putting_back_does_not_overwrite_what_has_come_since(library, inbox, key):
    gone = library.delete([key])
    library.add("x", [draw(inbox / "new" / "a.png", colour="blue", caption="new"), inbox / "new" / "a.txt"])
    now = everything(library.root / "x")
    library.undo(gone)
    assert everything(library.root / "x") == now


def test_a_caption_that_another_picture_uses_stays(library, key):
    draw(library.root / "x" / "a.jpg")
    library.delete([key])
    assert contents(library, "x") == {"a.jpg": "old"}


def test_a_whole_data_set_is_deleted_and_comes_back(library, key):
    before = everything(library.root)
    gone = library.remove("x")
    assert library.names() == []
    library.undo(gone)
    assert library.names() == ["x"] and everything(library.root) == before


def test_a_data_set_is_renamed_but_never_onto_another(library, key):
    library.create("y")
    with pytest.raises(JobError, match="already a data set named y"):
        library.rename("x", "y")
    assert library.rename("x", "my cats") == "my_cats" and library.names() == ["my_cats", "y"]
    assert contents(library, "my_cats") == {"a.png": "old"}


# -- what is seen of it ----------------------------------------------------------------------------------------------------


def test_findings_follow_the_files(library, key):
    assert all(found.level == "ok" for found in library.findings("x"))
    library.write_caption(key, "")
    assert [found.kind for found in library.findings("x") if found.level != "ok"] == ["caption"]
    library.write_caption(key, "back")
    assert all(found.level == "ok" for found in library.findings("x"))


def test_thumbnails_are_small_upright_and_outside_the_data_set(library, inbox):
    exif = Image.Exif()
    exif[274] = 6
    name = library.create("x")
    library.add(name, [draw(inbox / "a.jpg", (800, 400), exif=exif)])
    before = everything(library.root)
    path = library.thumbnail(library.pictures(name)[0])
    assert path.is_relative_to(library.cache) and Image.open(path).size == (160, 320)
    assert everything(library.root) == before


def test_the_example_is_copied_once(library, inbox):
    draw(inbox / "a.png", caption="a")
    (inbox / "README.md").write_text("x")
    assert library.copy(inbox, "example") == "example" == library.copy(inbox, "example")
    assert everything(library.root).keys() == {"example/a.png", "example/a.txt"}
    library.delete(["example/a.png"])
    library.copy(inbox, "example")
    assert library.pictures("example") == [], "what was taken out stays out"
    with pytest.raises(JobError, match="missing"):
        library.copy(inbox / "nowhere", "other")


def test_two_pictures_with_one_caption_that_are_taken_out_together_take_it_along(library, inbox):
    library.create("set")
    folder = library.folder("set")
    for name in ("a.png", "a.jpg", "b.png"):
        draw(folder / name, colour="red")
    (folder / "a.txt").write_text("both of them")
    one = library.take_out([folder / "a.png"])
    assert (folder / "a.txt").exists()  # the other one still has it
    library.undo(one)
    gone = library.take_out([folder / "a.png", folder / "a.jpg"])
    assert sorted(path.name for path in folder.iterdir()) == ["b.png"]
    library.undo(gone)
    assert (folder / "a.txt").read_text() == "both of them" and len(library.pictures("set")) == 3


def test_a_picture_whose_name_is_no_text_has_a_thumbnail(library, inbox):
    library.create("set")
    odd = library.folder("set") / os.fsdecode(b"na\xefve.png")
    odd.write_bytes(png("green"))
    small = library.thumbnail(odd)
    assert small.is_file() and small != library.thumbnail(odd, 64)
    key = library.key(odd)
    assert key.encode("utf-8") and library.picture(key) == odd
    library.write_caption(key, "a green one")
    assert library.captions("set") == {odd: "a green one"}
