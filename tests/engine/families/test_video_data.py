"""Videos as data, end to end: they are encoded as the stock pipelines encode them, learned beside pictures, and continued exactly."""

from __future__ import annotations

import pytest
import tiny
import torch
from clips import film, indexes
from diffusers import WanVideoToVideoPipeline
from phases import bench_of, ended
from pictures import draw
from test_parity import wrapped

from engine.control import Control
from engine.data.files.clips import Cut, read_first, read_frames
from engine.data.sizes.pixels import load_pixels
from engine.execute import execute
from engine.jobs import load_job
from engine.runs.folder import RunFolder
from engine.training.prepare import prepare

CASES = {case.name: case for case in tiny.CASES}


@pytest.fixture
def folder(tmp_path):
    """Two long videos, two short ones and two pictures, all of one size."""
    for index, frames in enumerate((20, 14, 6, 5)):
        film(tmp_path / "data" / f"{index}.mp4", frames, (48, 32), caption=f"clip {index}")
    for index, colour in enumerate(("red", "blue")):
        draw(tmp_path / "data" / f"still {index}.png", (48, 32), colour, caption=f"a {colour} field")
    return tmp_path / "data"


@pytest.fixture
def job_of(tmp_path, folder):
    def make(name, train=None, **data):
        case = CASES[name]
        base = tmp_path / "base"
        if not base.exists():
            tiny.save(case.make(), base, **case.defaults)
        return load_job(
            {
                "name": "tiny",
                "model": {"name_or_path": str(base), "arch": case.family},
                "network": {"type": "lora", "rank": 4},
                "datasets": [{"path": str(folder), "num_frames": 9, "resolution": 64, **data}],
                "train": {"steps": 6, "lr": 1e-2, "optimizer": "adamw", "batch_size": 2, **(train or {})},
                "sample": {"sample_every": None},
                "save": {"save_every": 3, "dtype": "fp32"},
            }
        )

    return make


def run(job, root, stop_at=None):
    folder, control = RunFolder.create(root, job, exist_ok=True), Control()
    for event in execute(job, folder, control):
        assert event.kind != "failed", event
        control.stop = control.stop or (event.kind == "step" and event.step == stop_at)
    return folder.path


def micros(bench, kind):
    """Micro-batches whose pictures have so many frames."""
    items, placed, batches = bench.loader.items, bench.loader.placed, bench.loader.batches
    return [micro for micro in range(6) if {items[placed[index].item].frames for index in batches.at(micro)} == {kind}]


def test_a_batch_is_of_one_length_and_its_latents_are_a_quarter_or_half_as_many(job_of):
    events, bench = ended(prepare(job_of("wan 2.1"), Control()))
    shapes = [tuple(bench.batch(micro).mean.shape) for micro in range(3)]
    assert sorted(shapes) == [(2, 4, 1, 8, 12), (2, 4, 3, 8, 12), (2, 4, 5, 8, 12)]  # this tiny VAE halves the frames
    assert any("shorter than 9 frames" in event.message for event in events if event.kind == "warned")
    bench.close()


@pytest.mark.parametrize("name", ["wan 2.1", "wan 2.2 5b"])
def test_a_video_is_encoded_as_the_stock_pipeline_encodes_it(name, job_of, folder, monkeypatch):
    bench = bench_of(job_of(name))
    item = next(item for item in bench.loader.items if item.path.name == "0.mp4")
    pipe = wrapped(CASES[name]).pipe
    stock = WanVideoToVideoPipeline(
        **{key: pipe.components[key] for key in ("tokenizer", "text_encoder", "vae", "scheduler", "transformer")}
    )
    frames = list(read_frames(folder / "0.mp4", Cut(9)))
    assert indexes(frames) == [0, 2, 4, 7, 9, 11, 14, 16, 19]
    pixels = stock.video_processor.preprocess_video(frames, height=32, width=48)
    torch.testing.assert_close(load_pixels(item, (48, 32))[None], pixels)
    monkeypatch.setattr(stock.scheduler, "add_noise", lambda clean, noise, time: clean)
    with torch.no_grad():
        expected = stock.prepare_latents(pixels, 1, 4, 32, 48, torch.float32, "cpu", None, None, torch.tensor([999]))
    torch.testing.assert_close(bench.loader.latents.get(item, (48, 32))[0][None], expected, rtol=1e-4, atol=1e-5)
    bench.close()


@pytest.mark.parametrize(
    ("name", "data"), [("wan 2.1", {}), ("wan 2.2 5b", {"do_i2v": True}), ("wan 2.1 i2v", {}), ("wan 2.2 14b i2v", {})]
)
def test_videos_and_pictures_are_learned_and_a_stopped_run_continues_in_the_same_bytes(name, data, job_of, tmp_path):
    job = job_of(name, **data)
    whole = run(job, tmp_path / "whole")
    run(job, tmp_path / "halves", stop_at=3)
    halves = run(job, tmp_path / "halves")
    files = [path.relative_to(whole) for path in sorted(whole.glob("*.safetensors"))]
    assert files
    for file in files:
        assert (whole / file).read_bytes() == (halves / file).read_bytes(), file


@pytest.mark.parametrize("name", ["wan 2.1 i2v", "wan 2.2 14b i2v"])
def test_the_model_is_shown_the_first_frame_that_is_learned(name, job_of, folder):
    """Frames are taken from within the video: the first of them is not the first of the file."""
    events, bench = ended(prepare(job_of(name, shrink_video_to_frames=False, fps=24), Control()))
    family, seen = wrapped(CASES[name]), set()
    for micro in micros(bench, 9):
        batch = bench.batch(micro)
        for row, index in enumerate(bench.loader.batches.at(micro)):
            item = bench.loader.items[bench.loader.placed[index].item]
            first = read_first(item.path, Cut(9, 24))
            seen.add((item.path.name, indexes([first])[0]))
            pixels = (torch.tensor(list(first.tobytes())).view(32, 48, 3).permute(2, 0, 1)[None]) / 127.5 - 1
            with torch.no_grad():
                known = family.encode_reference(pixels, 9)
            assert known.shape == (1, 4, 5, 8, 12)
            torch.testing.assert_close(batch.cond["control_0"][row : row + 1], known, rtol=1e-4, atol=1e-4)
            if family.sees_controls:
                features = family.pipe.encode_image(first)
                torch.testing.assert_close(batch.cond["image_embeds"][row : row + 1], features, rtol=1e-4, atol=1e-4)
    assert len(seen) == 2 and any(index for _, index in seen)
    assert any("of a still picture that is all there is" in event.message for event in events if event.kind == "warned")
    bench.close()


def test_the_small_model_is_shown_the_first_frame_where_it_is_asked_for(job_of):
    for wanted in (False, True):
        bench = bench_of(job_of("wan 2.2 5b", do_i2v=wanted))
        batch = bench.batch(micros(bench, 9)[0])
        assert ("control_0" in batch.cond) == wanted
        if wanted:
            assert batch.cond["control_0"].shape[2] == 1
            torch.testing.assert_close(batch.cond["control_0"], batch.mean[:, :, :1], rtol=1e-3, atol=1e-3)  # the VAE looks back only
        bench.close()


def test_a_first_frame_that_is_not_shown_is_told(job_of):
    events, bench = ended(prepare(job_of("wan 2.1", do_i2v=True), Control()))
    assert any("do_i2v of datasets[0] has no effect" in event.message for event in events if event.kind == "warned")
    bench.close()


def test_only_what_is_new_is_encoded(job_of, folder, monkeypatch):
    from engine.families.wan import Wan21

    counted, encode = [], Wan21.encode_pixels
    monkeypatch.setattr(Wan21, "encode_pixels", lambda self, pixels: counted.append(tuple(pixels.shape)) or encode(self, pixels))

    def encoded(**data):
        counted.clear()
        bench_of(job_of("wan 2.1", **data)).close()
        return set(counted)

    short, long, still = (2, 3, 5, 32, 48), (2, 3, 9, 32, 48), (2, 3, 32, 48)
    assert encoded() == {still, short, long}
    assert encoded() == encoded(num_repeats=3) == set()
    assert encoded(num_frames=5) == {short}  # the long ones, shortened
    assert encoded(shrink_video_to_frames=False, fps=24) == {short, long}
    film(folder / "0.mp4", 15, (48, 32))
    assert encoded() == {(1, 3, 9, 32, 48)}


def test_videos_that_are_changed_each_time_are_encoded_in_the_step(job_of):
    job = job_of("wan 2.1 i2v", random_crop=True, augmentations=[{"method": "HorizontalFlip", "p": 0.5}])
    bench = bench_of(job)
    (micro,) = micros(bench, 9)[:1]
    batch, again = bench.batch(micro), bench.batch(micro)
    assert batch.mean.shape == batch.cond["control_0"].shape == (2, 4, 5, 8, 12)
    assert torch.equal(batch.mean, again.mean) and torch.equal(batch.cond["control_0"], again.cond["control_0"])
    bench.close()
