"""Broken and hostile files: they are told, they do no harm, and the others are kept."""

from __future__ import annotations

import os
import resource
import zipfile
from pathlib import Path

import pytest
from pictures import draw
from uploads import contents, everything, png, zipped

from ui import library as module


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
