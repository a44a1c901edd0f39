"""The controls of a data set: reference pictures made of the pictures themselves, kept in the cache and learned from as those of a folder are."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from clips import film
from PIL import Image
from test_data_of_a_run import bench_of

from engine.control import Control, Stopped
from engine.errors import JobError
from engine.execute import execute
from engine.jobs import load_job
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


def written(job, root: Path) -> list[str]:
    """What is told while the control pictures are made."""
    steps = prepare(job, RunFolder.create(root, job, exist_ok=True), Control())
    return [f"{event.done} of {event.total}" for event in steps if event.kind == "progress" and event.what == "control pictures"]


def test_the_model_is_shown_what_was_made_of_each_picture(job_of, folder, tmp_path):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    bench = bench_of(job_of(controls=["line"]), tmp_path / "run")
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
    bench = bench_of(job_of(control_path=str(tmp_path / "drawn"), controls=["canny", "line", "canny"], flip_x=True), tmp_path / "run")
    assert {tuple(path.parent.name for path in item.controls) for item in bench.loader.items} == {("drawn", "canny", "line")}
    first = next(item for item in bench.loader.items if item.path.name == "a.png")
    assert Image.open(first.controls[1]).tobytes() == canny(Image.open(first.path), 0.1, 0.2).tobytes()
    bench.close()


def test_only_what_is_new_is_made(job_of, folder, tmp_path):
    assert written(job_of(controls="line"), tmp_path / "run") == ["1 of 3", "2 of 3", "3 of 3"]
    assert written(job_of(controls="line"), tmp_path / "run") == []
    Image.new("RGB", (64, 64), "green").save(folder / "b.png")
    (folder / "a.png").rename(folder / "c.png")
    assert written(job_of(controls="line"), tmp_path / "run") == ["3 of 3"]


def test_a_stop_leaves_what_is_made(job_of, tmp_path):
    job, control = job_of(controls="line"), Control()
    with pytest.raises(Stopped):
        for event in prepare(job, RunFolder.create(tmp_path / "run", job), control):
            if event.kind == "progress" and event.what == "control pictures":
                control.ask("stop")
    assert len(made()) == 1
    assert written(job, tmp_path / "run") == ["2 of 3", "3 of 3"]


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


def test_kinds_of_ai_toolkit_that_are_something_else_there_are_refused():
    def read(kinds) -> list[str]:
        data = {"folder_path": "x", "controls": kinds}
        process = {"type": "sd_trainer", "model": {"name_or_path": "y", "arch": "flex2"}, "datasets": [data], "train": {"steps": 1}}
        return load_job({"job": "extension", "config": {"name": "x", "process": [process]}}).datasets[0].controls

    assert read(["depth", "line", "pose"]) == ["depth", "line", "pose"] and read([]) == []
    for kind, hint in {"mask": "mask_path", "inpaint": "inpaint_path", "sapiens2_mask": "mask_path"}.items():
        with pytest.raises(JobError, match=f"controls asks for {kind}, which is not supported yet") as caught:
            read(["depth", kind])
        assert hint in caught.value.hint
