from __future__ import annotations

import io
import os
import resource
import zipfile
from pathlib import Path

import pytest
from pictures import draw
from PIL import Image

from engine.errors import JobError
from ui import library as module
from ui.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    (tmp_path / "sets").mkdir()
    (tmp_path / "cache").mkdir()
    return Library(tmp_path / "sets", tmp_path / "cache")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Where uploads lie."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def png(colour: str = "red", size: tuple[int, int] = (24, 16)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def contents(library: Library, name: str) -> dict[str, str]:
    """Picture → caption."""
    return {path.name: library.caption(path) for path in library.pictures(name)}


# -- what comes in ---------------------------------------------------------------------------------------------------------


def test_pictures_captions_and_zips_become_a_data_set(library, inbox):
    uploads = [
        draw(inbox / "a.png", colour="red", caption="a [trigger] ü"),
        inbox / "a.txt",
        draw(inbox / "B.JPG", colour="blue"),
        zipped(inbox / "more.zip", {"deep/c.png": png("green"), "deep/c.txt": b"from the zip"}),
    ]
    name = library.create("my pictures")
    added = library.add(name, uploads)
    assert (added.pictures, added.captions, added.known, added.refused) == (3, 2, 0, [])
    assert name == "my_pictures" and library.names() == [name]
    assert contents(library, name) == {"a.png": "a [trigger] ü", "B.jpg": "", "c.png": "from the zip"}
    assert (inbox / "a.png").exists(), "a person's own files stay"


def test_the_caption_may_come_before_its_picture_or_later(library, inbox):
    picture = draw(inbox / "a.png", caption="first")
    name = library.create("x")
    library.add(name, [inbox / "a.txt", picture])
    assert contents(library, name) == {"a.png": "first"}
    (inbox / "a.txt").write_text("second")
    assert library.add(name, [inbox / "a.txt"]).captions == 1
    assert contents(library, name) == {"a.png": "second"}


def test_a_caption_without_a_picture_and_files_of_other_kinds_are_told(library, inbox):
    for file in ("alone.txt", "program.exe", "page.svg", "noending"):
        (inbox / file).write_text("x")
    name = library.create("x")
    added = library.add(name, sorted(inbox.iterdir()))
    assert dict(added.refused) == {
        "alone.txt": "is a caption without a picture of the same name",
        "noending": "is not a picture, a caption or a zip",
        "page.svg": "is not a picture, a caption or a zip",
        "program.exe": "is not a picture, a caption or a zip",
    }
    assert everything(library.root) == {}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("café".encode(), "café"),
        ("café".encode("utf-8-sig"), "café"),
        ("café".encode("cp1252"), "café"),
        ("café".encode("utf-16"), "café"),
    ],
)
def test_captions_keep_their_accents_however_they_were_saved(library, inbox, data, text):
    picture = draw(inbox / "a.png")
    (inbox / "a.txt").write_bytes(data)
    name = library.create("x")
    library.add(name, [picture, inbox / "a.txt"])
    assert contents(library, name) == {"a.png": text}


def test_the_same_picture_again_is_known_and_another_of_its_name_gets_a_number(library, inbox):
    name = library.create("x")
    library.add(name, [draw(inbox / "1" / "a.png", colour="red", caption="red"), inbox / "1" / "a.txt"])
    assert library.add(name, [inbox / "1" / "a.png"]).known == 1
    added = library.add(name, [draw(inbox / "2" / "a.png", colour="blue", caption="blue"), inbox / "2" / "a.txt"])
    assert added.pictures == 1 and added.known == 0
    assert contents(library, name) == {"a.png": "red", "a-2.png": "blue"}


def test_pictures_of_one_name_in_two_folders_of_a_zip_keep_their_own_captions(library, inbox):
    name = library.create("x")
    archive = zipped(
        inbox / "a.zip",
        {"one/1.png": png("red"), "one/1.txt": b"red", "two/1.png": png("blue"), "two/1.txt": b"blue"},
    )
    library.add(name, [archive])
    assert sorted(contents(library, name).values()) == ["blue", "red"]


def test_a_picture_of_another_kind_with_the_same_name_does_not_take_the_caption(library, inbox):
    """a.png and a.jpg would both have a.txt: the words of the second must not end up on the first."""
    name = library.create("x")
    library.add(name, [draw(inbox / "1" / "a.png", colour="red", caption="red"), inbox / "1" / "a.txt"])
    library.add(name, [draw(inbox / "2" / "a.jpg", colour="blue", caption="blue"), inbox / "2" / "a.txt"])
    assert contents(library, name) == {"a.png": "red", "a-2.jpg": "blue"}


def test_a_caption_for_two_pictures_of_its_name_is_given_to_both(library, inbox):
    name = library.create("x")
    uploads = [draw(inbox / "a.png", colour="red", caption="both"), draw(inbox / "a.jpg", colour="blue")]
    library.add(name, [*uploads, inbox / "a.txt"])
    assert sorted(contents(library, name).values()) == ["both", "both"]


# -- broken and hostile files ----------------------------------------------------------------------------------------------


def test_a_broken_picture_is_told_and_the_others_are_kept(library, inbox):
    good = draw(inbox / "good.png")
    (inbox / "text.png").write_text("no picture")
    (inbox / "empty.jpg").touch()
    (inbox / "half.png").write_bytes(png(size=(200, 200))[:120])
    name = library.create("x")
    added = library.add(name, [good, inbox / "text.png", inbox / "empty.jpg", inbox / "half.png"])
    assert added.pictures == 1 and list(contents(library, name)) == ["good.png"]
    told = dict(added.refused)
    assert set(told) == {"text.png", "empty.jpg", "half.png"}
    assert all(reason.startswith("cannot be read: ") for reason in told.values())
    assert "it is empty" in told["empty.jpg"]


@pytest.mark.parametrize(
    "inside",
    ["../x.png", "../../../x.png", "/x.png", "/etc/x.png", "C:\\x.png", "..\\..\\x.png", "a/../../x.png", "//host/x.png"],
)
def test_a_zip_cannot_write_outside_its_data_set(library, inbox, tmp_path, inside):
    name = library.create("x")
    before = everything(tmp_path)
    library.add(name, [zipped(inbox / "a.zip", {inside: png()})])
    new = {path for path in everything(tmp_path) if path not in before and not path.startswith("cache/")}
    assert new == {"inbox/a.zip", "sets/x/x.png"}
    assert not Path("/x.png").exists() and not Path("/etc/x.png").exists()


def test_a_link_in_a_zip_is_not_followed(library, inbox, tmp_path):
    secret = draw(tmp_path / "secret.png")
    with zipfile.ZipFile(inbox / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, str(secret))
    name = library.create("x")
    added = library.add(name, [inbox / "a.zip"])
    assert added.pictures == 0 and added.refused[0][0] == "link.png"
    assert everything(library.root) == {}


def test_a_zip_that_says_it_is_small_and_is_not_is_told(library, inbox, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    archive = zipped(inbox / "bomb.zip", {"bomb.png": b"\0" * 3_000_000, "good.png": png()})
    data = bytearray(archive.read_bytes())
    place = data.find(b"PK\x01\x02")
    data[place + 24 : place + 28] = (1000).to_bytes(4, "little")  # the size as the directory declares it
    archive.write_bytes(data)
    name = library.create("x")
    added = library.add(name, [archive])
    assert list(contents(library, name)) == ["good.png"]
    assert [file for file, _ in added.refused] == ["bomb.png"]


def test_files_that_are_too_large_are_told_and_the_others_are_kept(library, inbox, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    name = library.create("x")
    archive = zipped(inbox / "a.zip", {"bomb.png": b"\0" * 3_000_000, "good.png": png()})
    assert library.add(name, [archive]).refused == [("bomb.png", "is too large")]
    assert list(contents(library, name)) == ["good.png"]


def test_a_bomb_never_reaches_the_disk(library, inbox, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    archive = zipped(inbox / "a.zip", {"bomb.png": b"\0" * 8 * 2**20})
    name = library.create("x")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, before[1]))  # writing more is an error now
    try:
        added = library.add(name, [archive])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert added.refused == [("bomb.png", "is too large")]


def test_many_files_that_are_too_large_together_are_told(library, inbox, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES_IN_ALL", int(2.5 * len(png())))
    name = library.create("x")
    archive = zipped(inbox / "a.zip", {f"{k}.png": png(colour) for k, colour in enumerate(("red", "blue", "lime", "gold"))})
    added = library.add(name, [archive])
    assert added.pictures == 2 and [reason for _, reason in added.refused] == ["is too large"] * 2


def test_a_zip_of_very_many_files_is_refused_before_any_is_read(library, inbox, monkeypatch):
    monkeypatch.setattr(module, "MOST_FILES", 2)
    name = library.create("x")
    added = library.add(name, [zipped(inbox / "a.zip", {f"{k}.png": png() for k in range(3)})])
    assert added.pictures == 0 and added.refused == [("a.zip", "holds 3 files; at most 2 are taken")]


def test_a_damaged_file_in_a_zip_is_told_and_the_others_are_kept(library, inbox):
    noise = os.urandom(400)
    archive = zipped(inbox / "a.zip", {"1.png": png("red"), "2.png": noise, "3.png": png("blue")}, zipfile.ZIP_STORED)
    data = archive.read_bytes()
    archive.write_bytes(data.replace(noise, noise[::-1]))
    name = library.create("x")
    added = library.add(name, [archive])
    assert list(contents(library, name)) == ["1.png", "3.png"]
    assert [file for file, _ in added.refused] == ["2.png"]


def test_damaged_compression_of_one_file_leaves_the_others(library, inbox):
    archive = zipped(inbox / "a.zip", {"1.png": b"word " * 400, "2.png": png()})
    data = bytearray(archive.read_bytes())
    start = 30 + len("1.png")
    data[start : start + 4] = b"\xff\xff\xff\xff"
    archive.write_bytes(data)
    added = library.add(library.create("x"), [archive])
    assert added.refused == [("1.png", "is damaged")] and added.pictures == 1


def test_a_zip_with_a_password_is_told_once(library, inbox):
    archive = zipped(inbox / "a.zip", {"1.png": png("red"), "2.png": png("blue")})
    data = bytearray(archive.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := data.find(mark, place + 1)) >= 0:
            data[place + flags] |= 1
    archive.write_bytes(data)
    assert library.add(library.create("x"), [archive]).refused == [("a.zip", "has a password")]


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04" + b"\0" * 40])
def test_what_is_no_zip_is_told(library, inbox, data):
    (inbox / "a.zip").write_bytes(data)
    added = library.add(library.create("x"), [inbox / "a.zip", draw(inbox / "b.png")])
    assert added.refused == [("a.zip", "cannot be opened; the zip is broken")] and added.pictures == 1


def test_what_apple_and_hidden_files_add_to_a_zip_is_left_out_without_a_word(library, inbox):
    files = {"__MACOSX/._a.png": b"x", ".hidden.png": png(), "a.png": png(), "folder/": b""}
    added = library.add(library.create("x"), [zipped(inbox / "a.zip", files)])
    assert added.pictures == 1 and added.refused == []


# -- names -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stem",
    ["CON", "nul", "a:b", 'q"?*<>|', "trailing. . ", "tab\tnew\nline", "日" * 110, "🎞" * 60, "-rf", "$(id)", "%2e%2e"],
)
def test_hostile_names_of_pictures_become_names_that_every_system_takes(library, inbox, stem):
    name = library.create("x")
    added = library.add(name, [zipped(inbox / "a.zip", {f"{stem}.png": png(), f"{stem}.txt": b"its caption"})])
    (picture,) = library.pictures(name)
    assert added.refused == [] and library.caption(picture) == "its caption"
    assert not set(picture.name) & set('<>:"/\\|?*\t\n') and len(picture.name.encode()) <= 240
    assert picture.stem.lower() not in {"con", "nul"} and not picture.stem.endswith((" ", "."))


def test_names_of_any_script_stay_and_do_not_collide(library, inbox):
    name = library.create("фото 日本")
    assert name == "фото_日本"
    files = {f"{stem}.png": png(colour) for stem, colour in (("日本", "red"), ("中国", "blue"), ("été", "lime"), ("???", "gold"), ("***", "navy"))}
    added = library.add(name, [zipped(inbox / "a.zip", files)])
    assert added.pictures == 5 and added.refused == []
    assert {"日本.png", "中国.png", "été.png"} < set(contents(library, name)) and len(contents(library, name)) == 5


def test_data_sets_of_one_name_do_not_collide(library):
    assert [library.create(wish) for wish in ("cats", "cats", "c a", "c/a")] == ["cats", "cats-2", "c_a", "c_a-2"]
    assert library.names() == ["c_a", "c_a-2", "cats", "cats-2"]


@pytest.mark.parametrize("wish", ["../out", "/etc", "..", "a/../../b", "C:\\x", "~", "con", ".hidden"])
def test_no_wish_leads_out_of_the_folder_of_data_sets(library, tmp_path, wish):
    try:
        name = library.create(wish)
    except JobError:
        name = None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "sets"]
    assert library.names() == ([name] if name else [])


@pytest.mark.parametrize("name", ["", ".", "..", "../cache", "/etc", "x/..", ".deleted", "nowhere", "x/y"])
def test_no_name_opens_a_folder_that_is_no_data_set(library, name):
    library.create("x")
    (library.root / "x" / "y").mkdir()
    (library.root / ".deleted").mkdir()
    with pytest.raises(JobError):
        library.folder(name)


@pytest.mark.parametrize("key", ["x/../../secret.png", "x//secret.png", "../secret.png", "x/link.png", "x/a.txt", "x/", "x", "y/a.png"])
def test_no_key_opens_a_file_that_is_no_picture_of_its_data_set(library, inbox, tmp_path, key):
    draw(tmp_path / "secret.png")
    library.add(library.create("x"), [draw(inbox / "a.png", caption="a"), inbox / "a.txt"])
    (library.root / "x" / "link.png").symlink_to(tmp_path / "secret.png")
    for ask in (library.picture, lambda key: library.delete([key]), lambda key: library.write_caption(key, "x")):
        with pytest.raises(JobError):
            ask(key)
    assert (tmp_path / "secret.png").exists() and not (tmp_path / "secret.txt").exists()


def test_links_in_the_folder_of_data_sets_do_not_keep_it_from_opening(library, inbox, tmp_path):
    """A person may have linked a folder from elsewhere; one that has gone, too."""
    name = library.create("x")
    library.add(name, [draw(inbox / "a.png", caption="a"), inbox / "a.txt"])
    (library.root / "linked").symlink_to(inbox)
    (library.root / "x" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    for one in library.names():
        library.pictures(one)
        library.findings(one)
    assert library.names() == ["x"]
    assert any("gone.png" in found.message for found in library.findings("x"))


# -- captions --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def key(library, inbox) -> str:
    name = library.create("x")
    library.add(name, [draw(inbox / "a.png", caption="old"), inbox / "a.txt"])
    return "x/a.png"


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
