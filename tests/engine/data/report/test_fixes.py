from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from pictures import draw
from PIL import Image

from engine.data.report import mend, mend_copy, plan_fix, report, undo, undo_steps
from engine.data.report.fixes import Options, words_of
from engine.errors import JobError
from engine.jobs import Dataset

sys.path.insert(0, str(Path(__file__).parent))
from conftest import photo, snapshot  # noqa: E402


def levels(folder: Path, **keys) -> dict[str, str]:
    return {one.kind: one.level for one in report(Dataset(path=str(folder), **keys), "ohwx").findings}


def spoil(folder: Path) -> None:
    """One of everything that can be mended."""
    photo(folder / "a.png", caption="a [trigger]")
    shutil.copy(folder / "a.png", folder / "again.png")
    (folder / "again.txt").write_text("[trigger] again")
    draw(folder / "red_car-2.png", (64, 64), caption=None)
    draw(folder / "blank.png", (65, 64), "navy", caption="")
    draw(folder / "plain.png", (66, 64), "lime", caption="no words for it")
    draw(folder / "odd.png", (67, 64), "gold").with_suffix(".txt").write_bytes("[trigger] café".encode("cp1252"))
    draw(folder / "really.jpg", (68, 64), "gray", format="PNG", caption="[trigger]")
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moves.gif", save_all=True, append_images=frames[1:])
    (folder / "moves.txt").write_text("[trigger] moves")
    (folder / "broken.jpg").write_text("text")
    (folder / "broken.txt").write_text("[trigger] broken")


KINDS = {
    "duplicate": {"again.png", "again.txt"},
    "unreadable": {"broken.jpg", "broken.txt"},
    "caption": {"red_car-2.txt", "blank.txt"},
    "trigger": {"plain.txt"},
    "encoding": {"odd.txt"},
    "ending": {"really.jpg", "really.png"},
    "moving": {"moves.gif", "moves.png"},
}
"""Kind of finding → all files that its fix touches."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_fix_mends_its_finding_touches_nothing_else_and_is_taken_back_to_the_byte(own, kind):
    folder = own("set")
    spoil(folder)
    before = snapshot(folder)
    assert levels(folder)[kind] != "ok"
    done = mend(Dataset(path=str(folder)), kind, trigger="ohwx")
    after = {name: facts for name, facts in snapshot(folder).items() if not name.startswith(".undo")}
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == KINDS[kind] and done.number is not None and not done.left
    assert levels(folder).get(kind, "ok") == "ok"
    assert undo(folder).number == done.number
    assert snapshot(folder) == before and undo_steps(folder) == []


def test_what_the_fixes_write_is_what_they_say(own):
    folder = own("set")
    spoil(folder)
    for kind in KINDS:
        mend(Dataset(path=str(folder)), kind, Options(template="a photo of a {name}"), "ohwx")
    assert (folder / "red_car-2.txt").read_text() == "[trigger], a photo of a red car 2\n"
    assert (folder / "plain.txt").read_text() == "[trigger], no words for it\n"
    assert (folder / "odd.txt").read_bytes() == "[trigger] café".encode()
    assert Image.open(folder / "really.png").format == "PNG"
    with Image.open(folder / "moves.png") as still:
        assert still.convert("RGB").getpixel((5, 5)) == (255, 0, 0) and not getattr(still, "is_animated", False)
    assert [step.what for step in undo_steps(folder)][:2] == ["Converted", "Converted"]


def test_a_folder_that_the_app_did_not_make_is_never_mended_in_place(tmp_path):
    spoil(tmp_path)
    before = snapshot(tmp_path)
    for kind in KINDS:
        with pytest.raises(JobError, match="not a data set of the app"):
            mend(Dataset(path=str(tmp_path)), kind, trigger="ohwx")
    assert snapshot(tmp_path) == before


def test_a_mended_copy_leaves_the_folder_as_it_was(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    spoil(source)
    (source / ".hidden").mkdir()
    draw(source / "deep" / "é 日本.png", (69, 64), "teal", caption="[trigger] deep")
    before = snapshot(source)
    done = mend_copy(Dataset(path=str(source)), tmp_path / "new", list(KINDS), trigger="ohwx")
    assert snapshot(source) == before and done.folder == tmp_path / "new"
    found = levels(tmp_path / "new")
    assert all(found.get(kind, "ok") == "ok" for kind in KINDS)
    assert (tmp_path / "new" / "deep" / "é 日本.txt").is_file() and not (tmp_path / "new" / ".hidden").exists()
    (tmp_path / "new" / "a.png").open("ab").write(b"x")
    assert snapshot(source) == before, "the copy is no link"


@pytest.mark.parametrize("place", ["", "source/inside", "there"])
def test_a_copy_goes_only_where_nothing_is(tmp_path, place):
    photo(tmp_path / "source" / "a.png", caption=None)
    photo(tmp_path / "there" / "b.png")
    before = snapshot(tmp_path)
    with pytest.raises(JobError):
        mend_copy(Dataset(path=str(tmp_path / "source")), tmp_path / place, ["caption"])
    assert snapshot(tmp_path) == before


def test_a_dry_run_lists_what_the_fix_then_does_and_changes_nothing(own):
    folder = own("set")
    spoil(folder)
    before = snapshot(folder)
    changes, left = plan_fix(Dataset(path=str(folder)), "duplicate")
    assert snapshot(folder) == before and not left
    assert [change.sentence for change in changes] == ["again.png and again.txt go."]
    assert mend(Dataset(path=str(folder)), "duplicate").changes == changes


def test_a_caption_that_two_pictures_share_stays_while_one_of_them_does(own):
    folder = own("set")
    photo(folder / "a.png")
    shutil.copy(folder / "a.png", folder / "b.png")
    photo(folder / "b.jpg", seed=3, caption="for both")
    mend(Dataset(path=str(folder), default_caption=""), "duplicate")
    assert sorted(path.name for path in folder.iterdir()) == [".undo", "a.png", "a.txt", "b.jpg", "b.txt"]


def test_only_the_files_that_were_chosen_are_mended(own):
    folder = own("set")
    for name in ("a", "b"):
        draw(folder / f"{name}.png")
    done = mend(Dataset(path=str(folder)), "caption", files=[folder / "b.png"])
    assert [change.new for change in done.changes] == [Path("b.txt")] and not (folder / "a.txt").exists()


def test_what_cannot_be_mended_is_left_and_told(own):
    folder = own("set")
    draw(folder / "really.jpg", format="PNG", caption="a")
    draw(folder / "really.png", (64, 64), "blue")
    draw(folder / "meta.png", (64, 70))
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "meta.png", "text": "words"}))
    (folder / "phone.heic").write_bytes(b"not one")
    done = mend(Dataset(path=str(folder)), "ending")
    assert not done.changes and done.number is None and done.left[0].reason == "really.png is there already"
    assert "metadata" not in str(mend(Dataset(path=str(folder)), "trigger", trigger="ohwx").left[0].file)
    assert mend(Dataset(path=str(folder)), "foreign").left[0].file == Path("phone.heic")
    with pytest.raises(JobError, match="nothing that mends 'aspect'"):
        mend(Dataset(path=str(folder)), "aspect")


def test_a_picture_that_is_too_large_to_open_is_made_smaller(own, monkeypatch):
    folder = own("set")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)
    monkeypatch.setattr("engine.data.report.fixes.SHRUNK", 3_000)
    with Image.new("1", (200, 100)) as image:
        image.paste(1, (0, 0, 100, 100))
        image.save(folder / "large.png")
    assert levels(folder, default_caption="")["large"] == "problem"
    mend(Dataset(path=str(folder), default_caption=""), "large")
    with Image.open(folder / "large.png") as small:
        assert small.size == (77, 39) and small.convert("L").getpixel((5, 5)) == 255 and small.convert("L").getpixel((70, 5)) == 0
    assert Image.MAX_IMAGE_PIXELS == 5_000
    monkeypatch.setattr("engine.data.report.fixes.MOST_PIXELS", 10_000)
    undo(folder)
    assert "more than can be opened" in mend(Dataset(path=str(folder), default_caption=""), "large").left[0].reason


def test_undo_after_a_kill_in_the_middle_puts_everything_back(own, monkeypatch):
    from engine.data.report import undo as module

    folder = own("set")
    spoil(folder)
    before = snapshot(folder)
    undo_module = sys.modules["engine.data.files.undo"]
    move, moved = undo_module._move, []

    def dying(source: Path, target: Path) -> None:
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(target)
        move(source, target)

    monkeypatch.setattr(undo_module, "_move", dying)
    with pytest.raises(KeyboardInterrupt):
        mend(Dataset(path=str(folder)), "caption")
    with pytest.raises(KeyboardInterrupt):
        mend(Dataset(path=str(folder)), "moving")
    monkeypatch.setattr(undo_module, "_move", move)
    while undo_steps(folder):
        module(folder)
    assert snapshot(folder) == before


def test_undo_keeps_what_a_person_wrote_since(own):
    folder = own("set")
    draw(folder / "a.png")
    draw(folder / "b.png", caption="")
    number = mend(Dataset(path=str(folder)), "caption").number
    for name in "ab":
        (folder / f"{name}.txt").write_text("my own words, written later")
    assert sorted(one.message for one in undo(folder).kept) == [f"set/{name}.txt was changed since, and stays as it is." for name in "ab"]
    assert {(folder / f"{name}.txt").read_text() for name in "ab"} == {"my own words, written later"}
    assert (folder / ".undo" / str(number) / "old" / "b.txt").read_text() == ""
    with pytest.raises(JobError, match="nothing to take back"):
        undo(folder)


def test_a_list_of_changes_that_leads_elsewhere_is_refused(own, tmp_path):
    folder = own("set")
    draw(folder / "a.png")
    number = mend(Dataset(path=str(folder)), "caption").number
    secret = draw(tmp_path / "secret.png")
    with (folder / ".undo" / str(number) / "changes.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"place": str(secret), "old": False, "new": f"{secret.stat().st_size} {secret.stat().st_mtime_ns}"}))
    with pytest.raises(JobError, match="elsewhere"):
        undo(folder)
    assert secret.exists()


def test_names_become_words():
    assert [words_of(name) for name in ("red_car-02.final", "IMG (3)", "a", "___", "été 日本")] == [
        "red car 02 final",
        "IMG",
        "a",
        "___",
        "été 日本",
    ]
