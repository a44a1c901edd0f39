"""What comes into a data set: pictures, captions, and zips of both."""

from __future__ import annotations

import pytest
from pictures import draw
from uploads import contents, everything, png, zipped


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
