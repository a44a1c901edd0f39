from __future__ import annotations

from pathlib import Path

import pytest
from pictures import draw

from engine.data.files import notes
from engine.data.files.notes import Notes
from engine.data.files.pictures import digest


@pytest.fixture
def settled(monkeypatch):
    """Files are remembered at once, however new they are."""
    monkeypatch.setattr(notes, "SETTLED", -1000.0)


def test_a_file_that_was_only_just_written_is_not_trusted_to_stay(tmp_path):
    path, asked = draw(tmp_path / "a.png"), []

    def ask(path: Path) -> str:
        asked.append(path)
        return digest(path)

    remembered = Notes(tmp_path / "cache")
    for _ in range(2):
        assert list(remembered.about("digest", [path], ask)) == [(path, digest(path))]
    assert len(asked) == 2


def test_notes_are_kept_apart_by_topic_and_come_in_order(tmp_path, settled):
    paths = [draw(tmp_path / f"{index} é 日本.png", caption="a") for index in range(600)][::-1]
    remembered = Notes(tmp_path / "cache")
    assert list(remembered.about("one", paths, lambda path: path.name)) == [(path, path.name) for path in paths]
    assert list(remembered.about("two", paths[:2], lambda path: "x")) == [(path, "x") for path in paths[:2]]
    assert list(remembered.about("one", paths[::-1], lambda path: "?")) == [(path, path.name) for path in paths[::-1]]


def test_damaged_locked_or_lost_notes_cost_only_time(tmp_path, settled):
    path, cache = draw(tmp_path / "a.png"), tmp_path / "cache"
    cache.mkdir()
    (cache / notes.FILE).write_bytes(b"this is no database" * 100)
    assert list(Notes(cache).about("x", [path], lambda path: "first")) == [(path, "first")]
    assert list(Notes(cache).about("x", [path], lambda path: "again")) == [(path, "first")], "it works again"
    (cache / notes.FILE).unlink()
    assert list(Notes(cache).about("x", [path], lambda path: "anew")) == [(path, "anew")]
    (tmp_path / "file").touch()
    assert list(Notes(tmp_path / "file").about("x", [path], lambda path: "y")) == [(path, "y")]


def stamped(paths: list[Path]) -> list[tuple[str, str]]:
    return [(str(path), notes.stamp_of(path.stat())) for path in sorted(paths)]


def test_many_files_of_a_folder_are_asked_about_once(tmp_path, settled):
    paths = [draw(tmp_path / "a" / f"{index} é 日本.png") for index in range(600)]
    draw(tmp_path / "a" / "300 é 日本.pngx", format="png")
    remembered, asked = Notes(tmp_path / "cache"), []

    def ask(path: Path) -> str:
        asked.append(path)
        return path.name

    for _ in range(2):
        assert list(remembered.of_files("x", stamped(paths), ask)) == [(str(path), path.name) for path in sorted(paths)]
    assert sorted(asked) == sorted(paths)
    assert next(remembered.of_files("x", stamped(paths)[:1], lambda path: "new", lambda note: note == "new"))[1] == "new"


def test_of_many_files_the_one_that_changed_is_asked_about_again(tmp_path, settled):
    paths = [draw(tmp_path / f"{index}.png") for index in range(5)]
    remembered = Notes(tmp_path / "cache")
    list(remembered.of_files("x", stamped(paths), lambda path: "old"))
    draw(paths[2], colour="blue")
    assert [value for _, value in remembered.of_files("x", stamped(paths), lambda path: "new")] == ["old", "old", "new", "old", "old"]


def test_a_file_without_a_stamp_is_asked_about_each_time(tmp_path, settled):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    remembered = Notes(tmp_path / "cache")
    for answer in ("one", "two"):
        assert list(remembered.of_files("x", [(str(tmp_path / "a.png"), "")], lambda path, said=answer: said)) == [
            (str(tmp_path / "a.png"), answer)
        ]
