"""The same change in all captions of a folder, first to be seen, then made, then taken back."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from drive import captions, contents, done, failure, run, stop_at, warnings
from PIL import Image

import engine.tools.edit_captions as editing
from engine.data.files.undo import Step, undo, undo_steps
from engine.errors import JobError
from engine.jobs import load_job
from engine.jobs.tools.edits import Append, Prepend, Replace, Trim
from engine.tools.edit_captions import edited


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    (folder / "in").mkdir(parents=True)
    for name, text in {"a": "a photo of a cat", "b": "dog", "in/c": "a Photo of mud"}.items():
        Image.new("RGB", (8, 8)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    Image.new("RGB", (8, 8)).save(folder / "silent.png")
    return folder


PHOTO = {"type": "replace", "find": "a photo of (.*)", "replacement": r"\1!", "regular_expression": True, "ignore_case": True}
PREFIX = {"type": "prepend", "text": "zzz, "}


def test_a_dry_run_lists_the_changes_and_makes_none(data, tmp_path) -> None:
    before = contents(data)
    events = done(run(tmp_path / "out", kind="edit_captions", path=str(data), edits=[PHOTO], dry_run=True))
    assert captions(events) == {"a.png": "a cat!", "in/c.png": "mud!"} and contents(data) == before
    assert "1 picture has no caption" in warnings(events)


def test_edits_are_made_where_the_job_says_so_and_can_be_undone_to_the_byte(data, tmp_path) -> None:
    (data / "b.txt").write_bytes(b"\xef\xbb\xbfcaf\xe9 dog\r\n")  # neither UTF-8 nor a caption as we would write it
    before = contents(data)
    assert "in_place" in failure(run(tmp_path / "no", kind="edit_captions", path=str(data), edits=[PREFIX]))
    done(run(tmp_path / "out", kind="edit_captions", path=str(data), edits=[PHOTO, PREFIX], in_place=True))
    assert (data / "a.txt").read_text() == "zzz, a cat!" and (data / "in/c.txt").read_text() == "zzz, mud!"
    done(run(tmp_path / "back", kind="edit_captions", path=str(data), undo=str(tmp_path / "out/run")))
    assert contents(data) == before


def test_undo_leaves_alone_what_was_changed_since_and_what_is_elsewhere(data, tmp_path) -> None:
    done(run(tmp_path / "out", kind="edit_captions", path=str(data), edits=[PREFIX], in_place=True))
    (data / "a.txt").write_text("by hand")
    events = done(run(tmp_path / "back", kind="edit_captions", path=str(data), undo=str(tmp_path / "out/run")))
    assert "a.txt was changed since" in warnings(events)
    assert ((data / "a.txt").read_text(), (data / "b.txt").read_text()) == ("by hand", "dog")
    (tmp_path / "other.txt").write_text("x")
    with (tmp_path / "out/run/undo/changes.jsonl").open("a") as file:  # a run's folder that somebody else wrote
        file.write("\n" + json.dumps({"place": "../other.txt", "old": False, "new": None}))
    assert "elsewhere" in failure(run(tmp_path / "back2", kind="edit_captions", path=str(data), undo=str(tmp_path / "out/run")))
    assert (tmp_path / "other.txt").read_text() == "x"


def test_only_captions_in_the_folder_of_the_job_are_taken_back(data, tmp_path) -> None:
    done(run(tmp_path / "out", kind="edit_captions", path=str(data), edits=[PREFIX], in_place=True))
    events = done(run(tmp_path / "back", kind="edit_captions", path=str(data / "in"), undo=str(tmp_path / "out/run")))
    assert "outside" in warnings(events) and ((data / "a.txt").read_text(), (data / "in/c.txt").read_text()) == (
        "zzz, a photo of a cat",
        "a Photo of mud",
    )


def test_what_a_run_wrote_in_a_data_set_of_the_app_is_taken_back_there(data, home, tmp_path) -> None:
    (home / "datasets").mkdir(exist_ok=True)
    own = data.rename(home / "datasets" / "mine")
    before = contents(own)
    done(run(tmp_path / "one", kind="caption", path=str(own), captioner={"type": "file_name"}, skip_existing=False))
    done(run(tmp_path / "two", kind="edit_captions", path=str(own), edits=[PREFIX]))
    assert [step.what for step in undo_steps(own)] == ["Captions changed", "Captions written: file_name"]
    (own / "b.txt").write_text("by hand")
    [kept] = undo(own).kept
    assert (
        "b.txt was changed since" in kept.message
        and (own / "b.txt").read_text() == "by hand"
        and (own / "silent.txt").read_text() == "silent"
    )
    done(run(tmp_path / "back", kind="edit_captions", path=str(own), undo=str(tmp_path / "one/run")))
    assert {name: text for name, text in contents(own).items() if not name.startswith(".undo")} == before | {"b.txt": b"by hand"}


def test_what_is_given_back_is_what_was_there_before_the_first_of_several_changes(tmp_path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("first")
    for text in (b"second", b"third"):
        Step(tmp_path / "run", tmp_path).write(Path("a.txt"), text)
    assert list(Step(tmp_path / "run", tmp_path).undo()) == [file] and file.read_text() == "first"


def test_captions_that_a_captioner_wrote_are_taken_back_too(data, tmp_path) -> None:
    before = contents(data)
    done(run(tmp_path / "out", kind="caption", path=str(data), captioner={"type": "file_name"}, in_place=True, skip_existing=False))
    assert (data / "silent.txt").read_text() == "silent"
    done(run(tmp_path / "back", kind="edit_captions", path=str(data), undo=str(tmp_path / "out/run")))
    assert contents(data) == before


def test_a_stopped_edit_goes_on_without_doing_anything_twice(data, tmp_path) -> None:
    again = {"type": "replace", "find": "^", "replacement": "x", "regular_expression": True}
    job = {"kind": "edit_captions", "path": str(data), "edits": [again], "in_place": True}

    def watch(event, control) -> None:
        control.stop = event.kind == "captioned"

    assert done(run(tmp_path / "out", watch, **job))[-1].reason == "stopped"
    assert done(run(tmp_path / "out", **job))[-1].reason == "completed"
    assert [(data / name).read_text() for name in ("a.txt", "b.txt", "in/c.txt")] == ["xa photo of a cat", "xdog", "xa Photo of mud"]


def test_a_kill_between_writing_down_and_writing_loses_nothing(data, tmp_path) -> None:
    job = {"kind": "edit_captions", "path": str(data), "edits": [PREFIX], "in_place": True}
    done(run(tmp_path / "out", stop_at(1), **job))
    (data / "b.txt").write_text("dog")  # as if it had only been written down
    with (tmp_path / "out/run/undo/changes.jsonl").open("a") as file:
        file.write('\n{"place": "half')
    done(run(tmp_path / "out", **job))
    assert (data / "b.txt").read_text() == "zzz, dog"
    done(run(tmp_path / "back", kind="edit_captions", path=str(data), undo=str(tmp_path / "out/run")))
    assert (data / "b.txt").read_text() == "dog" and (data / "in/c.txt").read_text() == "a Photo of mud"


def test_edited_captions_go_to_another_folder_and_those_without_a_change_go_along(data, tmp_path) -> None:
    before = contents(data)
    done(run(tmp_path / "out", kind="edit_captions", path=str(data), edits=[PHOTO], write_to=str(tmp_path / "texts")))
    assert contents(tmp_path / "texts") == {"a.txt": b"a cat!", "b.txt": b"dog", "in/c.txt": b"mud!"} and contents(data) == before


@pytest.mark.parametrize(
    ("text", "edit", "result"),
    [
        ("a cat", Append(type="append", text=", outdoors"), "a cat, outdoors"),
        ("a cat, outdoors", Append(type="append", text=", outdoors"), "a cat, outdoors"),
        ("a cat", Prepend(type="prepend", text="zzz, "), "zzz, a cat"),
        ("zzz, a cat", Prepend(type="prepend", text="zzz, "), "zzz, a cat"),
        ("a.b", Replace(type="replace", find=".", replacement="\\1"), "a\\1b"),
        ("Cat cat", Replace(type="replace", find="cat", replacement="dog"), "Cat dog"),
        ("Cat cat", Replace(type="replace", find="cat", replacement="dog", ignore_case=True), "dog dog"),
        (" a,, b ,  c , ", Trim(type="trim"), "a, b, c"),
    ],
)
def test_an_edit_does_what_it_says(text, edit, result) -> None:
    assert edited(text, [edit]) == result


def test_a_regular_expression_that_never_ends_is_stopped_and_named(data, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(editing, "SECONDS", 0.2)
    (data / "a.txt").write_text("a" * 40 + "!")
    slow = {"type": "replace", "find": r"(a|aa)+$", "regular_expression": True}
    begun = time.process_time()
    told = failure(run(tmp_path / "out", kind="edit_captions", path=str(data), edits=[slow], in_place=True))
    assert "takes too long" in told and "a.png" in told and time.process_time() - begun < 3


def test_what_is_too_long_for_a_caption_is_left_alone(data, tmp_path) -> None:
    (data / "a.txt").write_text("a" * 100_001)
    events = done(run(tmp_path / "out", kind="edit_captions", path=str(data), edits=[PREFIX], in_place=True))
    assert "more than 100,000 letters" in warnings(events) and (data / "a.txt").read_text() == "a" * 100_001


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({}, "either edits, or a run to undo"),
        ({"edits": [PREFIX], "undo": "run"}, "either edits, or a run to undo"),
        ({"edits": [{"type": "replace", "find": "(a", "regular_expression": True}]}, "no regular expression"),
        ({"edits": [{"type": "replace", "find": "a", "replacement": r"\2", "regular_expression": True}]}, "names a group"),
    ],
)
def test_a_job_that_cannot_be_meant_is_told_before_it_runs(keys, sentence) -> None:
    with pytest.raises(JobError) as caught:
        load_job({"kind": "edit_captions", "name": "x", "path": "x", **keys})
    assert sentence in caught.value.message


def test_a_run_that_changed_no_captions_cannot_be_undone(data, tmp_path) -> None:
    assert "changed no captions" in failure(run(tmp_path / "out", kind="edit_captions", path=str(data), undo="nothing"))
