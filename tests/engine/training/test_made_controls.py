"""The controls of a data set: reference pictures made of the pictures themselves, kept in the cache and learned from as those of a folder are."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from clips import film
from phases import bench_of
from PIL import Image

from engine.control import Control, Stopped
from engine.errors import JobError
from engine.execute import execute
from engine.jobs import load_job_with_notes
from engine.runs.folder import RunFolder
from engine.settings import load_settings
from engine.tools.annotators.edges import canny, line
from engine.training.prepare import prepare


@pytest.fixture(scope="module")
def edit_base(tmp_path_factory) -> Path:
    (case,) = (case for case in tiny.CASES if case.name == "flux kontext")
    return tiny.save(case.make(), tmp_path_factory.mktemp("base") / "tiny", **case.defaults)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three pictures; of two of them, only the endings of their names differ."""
    for name, corner in {"a.png": 8, "a.jpg": 16, "b.png": 24}.items():
        picture = Image.new("RGB", (64, 64), "navy")
        picture.paste("white", (corner, corner, corner + 32, corner + 32))
        (tmp_path / "data").mkdir(exist_ok=True)
        picture.save(tmp_path / "data" / name)
    return tmp_path / "data"


@pytest.fixture
def job_of(edit_base, make_job, folder):
    def make(base: Path = edit_base, **data):
        return make_job(
            model={"name_or_path": str(base), "arch": "flux_kontext" if base == edit_base else "flux"},
            datasets=[{"path": str(folder), "resolution": 64, "default_caption": "a square", **data}], train__batch_size=3, sample__sample_every=None,
        )  # fmt: skip

    return make


def made() -> list[Path]:
    return sorted((load_settings().folder("cache") / "controls").rglob("*.png"))


def written(job) -> list[str]:
    """What is told while the control pictures are made."""
    return [
        f"{event.done} of {event.total}"
        for event in prepare(job, Control())
        if event.kind == "progress" and event.what == "control pictures"
    ]


def test_the_model_is_shown_what_was_made_of_each_picture(job_of, folder):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    bench = bench_of(job_of(controls=["line"]))
    batch = bench.batch(0)
    for row, index in enumerate(bench.loader.batches.at(0)):
        item = bench.loader.items[bench.loader.placed[index].item]
        (shown,) = item.controls
        expected = line(Image.open(item.path).convert("RGB"))
        assert Image.open(shown).tobytes() == expected.tobytes()
        pixels = torch.tensor(list(expected.convert("RGB").tobytes())).view(1, 64, 64, 3).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.no_grad():
            latents, _ = bench.family.encode_pixels(pixels.to(next(bench.family.pipe.vae.parameters()).dtype))
        torch.testing.assert_close(batch.cond["control_0"][row : row + 1], latents, rtol=1e-3, atol=1e-3)
    bench.close()
    assert len(made()) == 3
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before


def test_they_come_after_those_of_a_folder_each_kind_once(monkeypatch, job_of, folder, tmp_path):
    monkeypatch.setattr("engine.families.flux_kontext.FluxKontext.max_controls", 3)
    for path in folder.glob("*.jpg"):
        path.unlink()
    (tmp_path / "drawn").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (64, 64), "red").save(tmp_path / "drawn" / f"{name}.png")
    bench = bench_of(job_of(control_path=str(tmp_path / "drawn"), controls=["canny", "line", "canny"], flip_x=True))
    assert {tuple(path.parent.name for path in item.controls) for item in bench.loader.items} == {("drawn", "canny", "line")}
    first = next(item for item in bench.loader.items if item.path.name == "a.png")
    assert Image.open(first.controls[1]).tobytes() == canny(Image.open(first.path), 0.1, 0.2).tobytes()
    bench.close()


def test_only_what_is_new_is_made(job_of, folder):
    assert written(job_of(controls="line")) == ["1 of 3", "2 of 3", "3 of 3"]
    assert written(job_of(controls="line")) == []
    Image.new("RGB", (64, 64), "green").save(folder / "b.png")
    (folder / "a.png").rename(folder / "c.png")
    assert written(job_of(controls="line")) == ["3 of 3"]


def test_a_stop_leaves_what_is_made(job_of):
    job, control = job_of(controls="line"), Control()
    with pytest.raises(Stopped):
        for event in prepare(job, control):
            if event.kind == "progress" and event.what == "control pictures":
                control.ask("stop")
    assert len(made()) == 1
    assert written(job) == ["2 of 3", "3 of 3"]


def test_a_run_learns_from_them(job_of, run):
    assert run(job_of(controls=["line"]))[-1].kind == "finished"


def failed(job, tmp_path: Path) -> str:
    event = list(execute(job, RunFolder.create(tmp_path / "out", job), Control()))[-1]
    assert event.kind == "failed" and not event.detail
    return f"{event.message} {event.hint}"


def test_what_cannot_be_is_told_before_anything_is_made(job_of, base, folder, tmp_path):
    assert "takes no" in failed(job_of(base, controls=["line"]), tmp_path / "a")
    assert "takes 1" in failed(job_of(controls=["line", "canny"]), tmp_path / "b")
    film(folder / "film.mkv", 5)
    assert "the data has videos: data/film.mkv" in failed(job_of(controls=["line"], num_frames=1), tmp_path / "c")
    assert not made()


def test_the_subjects_that_ai_toolkit_makes_masks_of_are_found_by_words():
    def read(kinds, **more):
        data = {"folder_path": "x", "controls": kinds, **more}
        process = {"type": "sd_trainer", "model": {"name_or_path": "y", "arch": "flex2"}, "datasets": [data], "train": {"steps": 1}}
        job, notes = load_job_with_notes({"job": "extension", "config": {"name": "x", "process": [process]}})
        return job.datasets[0], " ".join(note.message for note in notes)

    assert read(["depth", "line", "pose"])[0].controls == ["depth", "line", "pose"] and read([])[0].controls == []
    found, told = read(["depth", "inpaint", "mask"])
    assert (found.controls, found.auto_inpaint, found.auto_mask) == (["depth"], ["a person"], ["a person"])
    assert "controls: inpaint looks for a person" in told and "controls: mask looks for a person" in told
    found, told = read("inpaint", inpaint_path="erased")
    assert (found.inpaint_path, found.auto_inpaint) == ("erased", []) and "looks for" not in told
    with pytest.raises(JobError, match="controls asks for normals, which is not supported yet"):
        read(["normals"])


@pytest.fixture
def finds(monkeypatch):
    """In the place of CLIPSeg: what is white in a picture is a box, and nothing is a cat."""
    asked = []

    def open_clipseg(settings):
        asked.append(settings.prompts)
        return lambda pictures: [
            one.convert("L").point(lambda value: 255 if value > 200 and settings.prompts != ["a cat"] else 0) for one in pictures
        ]

    monkeypatch.setattr("engine.tools.annotators.segments.open_clipseg", open_clipseg)
    return asked


def test_what_is_found_by_words_is_what_is_learned(job_of, base, folder, finds):
    (folder / "a.jpg").unlink()
    bench = bench_of(job_of(base, auto_mask=["a box"]))
    assert bench.batch(0).mask is not None
    places = {item.path.name: Image.open(item.mask) for item in bench.loader.items}
    assert finds == [["a box"]]
    assert {name: mask.getbbox() for name, mask in places.items()} == {"a.png": (8, 8, 40, 40), "b.png": (24, 24, 56, 56)}
    bench.close()
    bench_of(job_of(base, auto_mask=["a box"])).close()
    assert finds == [["a box"]], "kept in the cache"


def test_nothing_found_is_told_with_the_pictures_and_two_ways_at_once_are_refused(job_of, base, folder, tmp_path, finds):
    job = job_of(base, auto_mask="a cat")
    told = [event.message for event in prepare(job, Control()) if event.kind == "warned"]
    assert any("auto_mask finds no 'a cat' in 3 pictures: data/a.jpg" in one for one in told)
    assert "both mask_path and auto_mask" in failed(job_of(base, auto_mask="a box", mask_path=str(folder)), tmp_path / "b")
    assert "draws whole pictures" in failed(job_of(base, auto_inpaint="a box"), tmp_path / "c")


def test_what_is_found_by_words_is_what_is_drawn_anew(make_job, folder, tmp_path, finds):
    (case,) = (case for case in tiny.CASES if case.name == "flex 2")
    base = tiny.save(case.make(), tmp_path / "base")
    data = {"path": str(folder), "resolution": 64, "default_caption": "a square", "auto_inpaint": ["a box"]}
    job = make_job(model={"name_or_path": str(base), "arch": "flex2"}, datasets=[data], train__batch_size=1, sample__sample_every=None)
    bench = bench_of(job)
    corners = {"a.png": 4, "a.jpg": 8, "b.png": 12}
    for step in range(3):
        (index,) = bench.loader.batches.at(step)
        corner = corners[bench.loader.items[bench.loader.placed[index].item].path.name]
        anew = bench.batch(step).cond["anew"][0, 0]
        assert anew[corner : corner + 16, corner : corner + 16].mean() > 0.95 and anew.sum() == pytest.approx(256, rel=0.1)
    bench.close()
