from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.captions.text import apply_trigger, dropped, read_caption, read_text
from engine.errors import JobError


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("a café".encode(), "a café"),
        ("a café".encode("utf-8-sig"), "a café"),
        ("a café".encode("cp1252"), "a café"),
        ("“a” café".encode("cp1252"), "“a” café"),
        ("a café, 日本".encode("utf-16"), "a café, 日本"),
        (b"bad in both \x81\xff", "bad in both \ufffdÿ"),
        (b"1,000 dogs,  two spaces\r\nand a line\n", "1,000 dogs,  two spaces\r\nand a line"),
        (b"", None),
        (b" \r\n\t ", None),
        ("\ufeff".encode(), None),
    ],
)
def test_a_caption_is_read_as_it_was_written(tmp_path, data, text):
    (tmp_path / "a.txt").write_bytes(data)
    assert read_caption(tmp_path / "a.png") == text


def test_a_caption_that_is_not_unicode_is_known_as_such(tmp_path):
    (tmp_path / "a.txt").write_bytes("é".encode("cp1252"))
    (tmp_path / "b.txt").write_bytes("é".encode())
    assert read_text(tmp_path / "a.png") == ("é", False)
    assert read_text(tmp_path / "b.png") == ("é", True)


@pytest.mark.parametrize(
    ("picture", "ending", "file"),
    [
        ("a.png", "txt", "a.txt"),
        ("a.b.c.jpg", ".txt", "a.b.c.txt"),
        ("A.JPG", ".txt", "A.TXT"),
        ("é 日本.png", ".caption", "é 日本.caption"),
        ("a.png", ".long.txt", "a.long.txt"),
    ],
)
def test_the_caption_is_the_file_of_the_same_name(tmp_path, picture, ending, file):
    (tmp_path / file).write_text("here", encoding="utf-8")
    assert read_caption(tmp_path / picture, ending) == "here"


def test_no_file_and_a_folder_in_its_place_are_no_caption(tmp_path):
    (tmp_path / "b.txt").mkdir()
    assert read_caption(tmp_path / "a.png") is None
    assert read_caption(tmp_path / "b.png") is None


@pytest.mark.parametrize("ending", ["/etc/passwd", "..\\x", "."])
def test_an_ending_that_leads_elsewhere_is_refused(ending):
    with pytest.raises(JobError, match="caption_ext"):
        read_caption(Path("a.png"), ending)


def test_the_trigger_takes_its_place_and_nothing_else_changes():
    text = "1,000 [trigger]s,  a [TRIGGER] , and [trigger]\n"
    assert apply_trigger(text, "zwx") == "1,000 zwxs,  a [TRIGGER] , and zwx\n"
    assert apply_trigger(text, None) == text
    assert apply_trigger("a dog", "zwx") == "a dog"


def test_captions_are_dropped_at_the_rate_and_always_the_same_ones():
    draws = [dropped(42, step, position, 0.25) for step in range(2000) for position in range(4)]
    assert draws == [dropped(42, step, position, 0.25) for step in range(2000) for position in range(4)]
    assert 0.235 < sum(draws) / len(draws) < 0.265
    assert draws != [dropped(43, step, position, 0.25) for step in range(2000) for position in range(4)]
    assert draws[0::4] != draws[1::4], "a batch is not dropped as one"
    assert not any(dropped(1, step, 0, 0.0) for step in range(1000))
    assert all(dropped(1, step, 0, 1.0) for step in range(1000))
    assert all(dropped(1, step, 0, 0.6) for step in range(1000) if dropped(1, step, 0, 0.3)), "one draw, compared with the rate"
