"""What the Datasets page makes of findings, captions and sizes: buttons, changes that can be taken back, the part that is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clips import film
from pictures import draw
from PIL import Image

from engine.data.files.undo import step_of
from engine.data.report import findings
from engine.errors import JobError
from engine.jobs.tools.captions import FileName, Template
from engine.queue import Runner
from ui import mending, showing, wording
from ui.exporting import export_set
from ui.library import Library
from ui.studio import Studio
from ui.tabs.captions import BY_TITLE, _job


@pytest.fixture
def studio() -> Studio:
    return Studio(Runner())


@pytest.fixture
def library(studio: Studio) -> Library:
    studio.library.create("cars")
    return studio.library


def put(library: Library, file: str, caption: str | None = None, colour: str = "red", size: tuple[int, int] = (600, 400)) -> Path:
    return draw(library.root / "cars" / file, size=size, colour=colour, caption=caption)


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# -- findings --------------------------------------------------------------------------------------------------------------


def test_each_finding_has_the_button_that_mends_it_and_names_its_files(library):
    put(library, "a.png", "a car")
    put(library, "red_car.png", colour="blue")
    (library.root / "cars" / "broken.png").write_bytes(b"no picture")
    (library.root / "cars" / "broken.txt").write_text("words")
    rows = {row.note[3]: row for row in mending.rows(library, library.findings("cars"))}
    assert rows["fix-unreadable"].note[2] == "Take it out"
    assert rows["fix-caption"].note[2] == "Write it from the file name"
    assert ("red_car.png", "cars/red_car.png") in rows["fix-caption"].files
    assert rows[""].note[0] == "ok"


def test_every_fix_has_the_words_of_its_button():
    from engine.data.report import FIXES

    assert set(mending.BUTTONS) == set(FIXES.values())


def test_what_was_mended_is_told_and_can_be_taken_back_later(library):
    put(library, "red_car-02.png")
    before = everything(library.root / "cars")
    done = mending.mended(library, "cars", "caption")
    assert done[0][2:] == ("Undo", "back") and "red car 02" in done[0][1]
    assert library.caption(library.root / "cars" / "red_car-02.png") == "red car 02"
    [step] = mending.steps(Studio(Runner()).library, "cars")
    assert step[1].startswith("Captions written from the file names, 1 file") and step[3] == "back"
    assert mending.taken_back(library, "cars")[0][1].startswith("Undone")
    assert everything(library.root / "cars") == before and mending.steps(library, "cars") == []


def test_what_a_person_changed_since_stays_and_is_told(library):
    put(library, "red_car-02.png")
    mending.mended(library, "cars", "caption")
    (library.root / "cars" / "red_car-02.txt").write_text("my own words")
    told = mending.taken_back(library, "cars")
    assert [kind for kind, *_ in told] == ["look", "look"] and "red_car-02.txt was changed since" in told[1][1]
    assert library.caption(library.root / "cars" / "red_car-02.png") == "my own words" and mending.steps(library, "cars") == []


def test_a_run_can_be_taken_back_as_long_as_nothing_came_after_it(library, tmp_path):
    put(library, "red_car-02.png")
    folder = library.root / "cars"
    step_of(tmp_path, folder, "Captions written", own=True).write(Path("red_car-02.txt"), b"a car")
    assert mending.is_last(library, "cars", tmp_path) and not mending.is_last(library, "cars", folder)
    wording.write(library, "cars", "Words added", [(folder / "red_car-02.png", "a car", "a red car")])
    assert not mending.is_last(library, "cars", tmp_path)
    mending.taken_back(library, "cars")
    assert mending.is_last(library, "cars", tmp_path)
    mending.taken_back(library, "cars")
    assert not (folder / "red_car-02.txt").exists() and not mending.is_last(library, "cars", tmp_path)


def test_only_the_newest_change_has_the_button_that_takes_it_back(library):
    put(library, "a.png")
    (library.root / "cars" / "b.png").write_bytes(b"no picture")
    mending.mended(library, "cars", "unreadable")
    mending.mended(library, "cars", "caption")
    assert [note[3] for note in mending.steps(library, "cars")] == ["back", ""]


def test_a_file_that_is_left_as_it_is_is_told_with_the_reason(library):
    put(library, "a.png", "one")
    put(library, "b.gif", "two", colour="blue").rename(library.root / "cars" / "b.jpg")  # and its right name is taken
    put(library, "b.gif", "two", colour="green")
    notes = mending.mended(library, "cars", "ending")
    assert notes[-1][0] == "look" and "b.jpg is left as it is: b.gif is there already" in notes[-1][1]


# -- captions --------------------------------------------------------------------------------------------------------------


def test_find_and_replace_tells_first_and_can_be_taken_back(library):
    for number in range(7):
        put(library, f"{number}.png", f"a Red car, red sky {number}", colour=f"#{number}0{number}0{number}0")
    changes = wording.edits_of(library, "cars", wording.replacing("red", "blue"))
    assert wording.counted(changes) == "7 captions change. The first 5:"
    assert wording.shown(library, changes)[0].after == "a Red car, blue sky 0"
    assert library.captions("cars")[library.root / "cars" / "0.png"] == "a Red car, red sky 0", "a look changes nothing"
    before = everything(library.root / "cars")
    assert wording.write(library, "cars", "'red' replaced", changes) == 7
    assert set(library.captions("cars").values()) == {f"a Red car, blue sky {number}" for number in range(7)}
    assert mending.steps(library, "cars")[0][1].startswith("'red' replaced, 7 files")
    mending.taken_back(library, "cars")
    assert everything(library.root / "cars") == before


def test_capital_letters_are_the_same_where_that_is_asked_for(library):
    put(library, "a.png", "Red and red")
    [change] = wording.edits_of(library, "cars", wording.replacing("red", "a.*", ignore_case=True))
    assert change[2] == "a.* and a.*"


def test_words_are_added_once_and_only_where_there_is_a_caption(library):
    put(library, "a.png", "a car")
    put(library, "b.png", "[trigger], a bus", colour="blue")
    put(library, "c.png", colour="green")
    changes = wording.edits_of(library, "cars", wording.adding("[trigger], ", ""))
    assert [(path.name, after) for path, _, after in changes] == [("a.png", "[trigger], a car")]


def test_captions_without_a_model_are_for_pictures_that_have_none(library):
    put(library, "red_car-02.png")
    put(library, "b.png", "kept", colour="blue")
    made = wording.written_by(library, "cars", FileName(type="file_name"), "[trigger], ", all_of_them=False)
    assert [one[2] for one in made] == ["[trigger], red car"]
    made = wording.written_by(library, "cars", Template(type="template", text="[name] in [folder]"), "", all_of_them=True)
    assert [one[2] for one in made] == ["b in cars", "red car in cars"]


def test_pictures_that_share_a_caption_get_the_one_of_the_first(library):
    put(library, "a.jpg")
    put(library, "a.png", colour="blue")
    changes = wording.written_by(library, "cars", Template(type="template", text="x"), "", all_of_them=False)
    assert len(changes) == 2 and wording.write(library, "cars", "w", changes) == 1


def test_a_model_becomes_a_job_for_the_pictures_without_captions(studio, library):
    job = _job(studio, "cars", BY_TITLE["Qwen3-VL 4B"], "[trigger], ", "Name the colours.", again=False, preview=5)
    assert (job.name, job.path, job.preview, job.skip_existing) == ("captions-cars-preview", "datasets/cars", 5, True)
    assert (job.captioner.model_name_or_path, job.captioner.caption_prompt) == ("Qwen/Qwen3-VL-4B-Instruct", "Name the colours.")
    for info in BY_TITLE.values():
        if info.model_name_or_path:
            assert _job(studio, "cars", info, "", "", again=True, preview=0).captioner.type == info.type


def test_a_caption_of_a_json_or_a_table_is_shown_and_stays_where_it_is(library):
    one, two = put(library, "a.png"), put(library, "b.png", colour="blue")
    one.with_suffix(".json").write_text(json.dumps({"caption": "of json"}))
    (one.parent / "metadata.jsonl").write_text(json.dumps({"file_name": "b.png", "text": "of the table"}))
    assert library.said(one) == ("of json", "a.json") and library.said(two) == ("of the table", "metadata.jsonl")
    assert library.captions("cars") == {one: "of json", two: "of the table"}
    library.write_caption("cars/a.png", "of json")  # it was looked at, not edited
    assert not one.with_suffix(".txt").exists()
    library.write_caption("cars/a.png", "mine")
    assert library.said(one) == ("mine", "a.txt")


def test_a_damaged_json_takes_no_caption_from_the_others(library):
    one, two = put(library, "a.png"), put(library, "b.png", "mine", colour="blue")
    one.with_suffix(".json").write_text("{")
    assert library.captions("cars") == {one: "", two: "mine"}


# -- what is trained -------------------------------------------------------------------------------------------------------


def base(*resolution: int, videos: bool = False) -> showing.Base:
    return showing.Base("Some model", "some/model", resolution, 16, videos)


def test_the_part_that_is_trained_is_told_with_its_size(library):
    shown = showing.shown(library, put(library, "a.png", size=(1000, 600)), base(512))
    assert shown is not None and shown.size == (1000, 600) and shown.words == "trained at 640 × 384"
    left, top, right, bottom = shown.box
    assert (right - left) / (bottom - top) == pytest.approx(640 / 384) and 0 <= left < right <= 1000


def test_of_several_sizes_all_are_told_and_the_largest_is_framed(library):
    path = put(library, "a.png", size=(600, 400))
    small, large, both = (showing.shown(library, path, base(*sizes)) for sizes in ((256,), (384,), (256, 384)))
    assert both.words == f"{small.words} and {large.words.removeprefix('trained at ')}"
    assert both.box == large.box != small.box


def test_a_picture_that_is_too_small_or_unreadable_has_no_frame(library):
    small = showing.shown(library, put(library, "a.png", size=(10, 10)), base(512))
    assert small is not None and small.box is None and "too small" in small.words
    (library.root / "cars" / "b.png").write_bytes(b"no picture")
    assert showing.shown(library, library.root / "cars" / "b.png", base(512)) is None


def test_an_exchanged_picture_is_looked_at_again(library):
    path = put(library, "a.png", size=(512, 512))
    assert showing.shown(library, path, base(512)).size == (512, 512)
    put(library, "a.png", size=(512, 256), colour="blue")
    assert showing.shown(library, path, base(512)).size == (512, 256)


def test_the_base_model_is_the_one_of_the_job_on_the_desk(studio):
    studio.memory.put(draft={"model": {"name_or_path": "black-forest-labs/FLUX.1-dev"}})
    now = showing.base_now(studio.memory)
    assert now.title == "FLUX.1 dev" and now.resolution == (512, 768, 1024) and not now.videos
    studio.memory.put(draft={"model": {"name_or_path": "who/knows"}, "datasets": [{"resolution": [512, 768], "num_frames": 17}]})
    now = showing.base_now(studio.memory)
    assert now.resolution == (512, 768) and now.videos


def test_the_tables_count_sizes_buckets_and_words(library):
    for number in range(3):
        put(library, f"{number}.png", "a crimson car", size=(600, 400), colour=f"#{number}00")
    drawn = showing.tables(library, "cars", base(256))
    assert "<dt>3:2</dt>" in drawn and "<dt>304 × 208</dt>" in drawn and "<dt>crimson</dt>" in drawn
    assert drawn.count("<b>3</b>") >= 3


# -- videos and zips -------------------------------------------------------------------------------------------------------


def test_a_video_is_taken_in_with_a_poster_and_a_broken_one_is_refused(library, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    added = library.add("cars", [film(tmp_path / "drive.mp4", frames=8), broken])
    assert added.pictures == 1 and added.refused[0][0] == "broken.mp4"
    [video] = library.pictures("cars")
    with Image.open(library.thumbnail(video)) as poster:
        assert poster.size == (64, 48)
    library.write_caption(library.key(video), "a drive")
    assert library.caption(video) == "a drive"
    assert showing.shown(library, video, base(64)).box is None, "the job asks for no frames"
    assert showing.shown(library, video, base(64, videos=True)).box is not None
    assert showing.clip_words(video).endswith("8 frames") and showing.clip_words(Path("a.png")) == ""


def test_a_data_set_is_packed_with_its_captions_and_without_what_was_taken_out(studio, library, tmp_path):
    put(library, "a.png", "a car")
    (library.root / "cars" / "b.png").write_bytes(b"no picture")
    mending.mended(library, "cars", "unreadable")
    assert export_set(studio, "cars") == export_set(studio, "cars"), "made anew in the place of the last one"
    other = library.create("other")
    added = library.add(other, [export_set(studio, "cars")])
    assert (added.pictures, added.captions, added.refused) == (1, 1, [])


def test_a_name_that_leads_elsewhere_mends_nothing(library):
    with pytest.raises(JobError):
        mending.mended(library, "../cars", "caption")
    assert findings(library.root / "cars")
