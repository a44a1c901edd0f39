"""Copies in other sizes, frames of videos, and a part set aside: the originals stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drive import contents, done, failure, run, stop_at, warnings
from PIL import Image

from engine.errors import JobError
from engine.jobs import load_job
from engine.tools.resize import cut
from engine.tools.split import held_out


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    (folder / "in").mkdir(parents=True)
    tall = Image.new("RGB", (60, 120), "blue")
    tall.paste("red", (0, 0, 60, 60))
    tall.save(folder / "tall.png")
    Image.new("RGBA", (40, 40), (0, 255, 0, 0)).save(folder / "clear.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    Image.new("RGB", (100, 50), "white").save(folder / "in/turned.jpg", exif=exif)
    (folder / "tall.txt").write_bytes(b"caf\xe9")
    return folder


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.relative_to(folder).as_posix(): Image.open(path).size
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".png", ".jpg", ".webp")
    }


def test_copies_are_smaller_upright_and_have_their_captions(data, tmp_path) -> None:
    before = contents(data)
    done(run(tmp_path / "out", kind="resize", path=str(data), to=str(tmp_path / "small"), max_res=50))
    assert sizes(tmp_path / "small") == {"clear.png": (40, 40), "in/turned.png": (25, 50), "tall.png": (25, 50)}
    assert (tmp_path / "small/tall.txt").read_bytes() == b"caf\xe9" and contents(data) == before


@pytest.mark.parametrize(("focus", "colour"), [("top", (255, 0, 0)), ("centre", None)])
def test_a_square_is_cut_where_the_job_says(data, tmp_path, focus, colour) -> None:
    done(run(tmp_path / "out", kind="resize", path=str(data), to=str(tmp_path / "cut"), aspect="1:1", focus=focus))
    assert set(sizes(tmp_path / "cut").values()) == {(60, 60), (40, 40), (50, 50)}
    assert len(Image.open(tmp_path / "cut/tall.png").getcolors()) == (1 if colour else 2)


@pytest.mark.parametrize(
    ("size", "shape", "box"),
    [((100, 50), (1, 1), (25, 0, 75, 50)), ((50, 100), (2, 1), (0, 37, 50, 62)), ((10, 10), (9, 1), (0, 4, 10, 5))],
)
def test_the_largest_box_of_a_shape(size, shape, box) -> None:
    assert cut(size, *shape) == box


def test_what_is_transparent_stays_so_where_the_file_can_hold_it(data, tmp_path) -> None:
    for kind, pixel in {"png": (255, 255, 255, 0), "webp": (255, 255, 255, 0), "jpg": (255, 255, 255, 255)}.items():
        done(run(tmp_path / f"out{kind}", kind="resize", path=str(data), to=str(tmp_path / kind), format=kind))
        assert Image.open(tmp_path / kind / f"clear.{kind}").convert("RGBA").getpixel((5, 5))[3] == pixel[3]


def test_a_stopped_resize_goes_on_and_leaves_what_is_there_alone(data, tmp_path) -> None:
    job = {"kind": "resize", "path": str(data), "to": str(tmp_path / "small"), "max_res": 50}
    assert done(run(tmp_path / "out", stop_at(1), **job))[-1].reason == "stopped"
    assert list(sizes(tmp_path / "small")) == ["clear.png"]
    (tmp_path / "small/clear.png").write_bytes(b"mine")
    done(run(tmp_path / "out", **job))
    assert (tmp_path / "small/clear.png").read_bytes() == b"mine" and (tmp_path / "small/tall.png").is_file()


def test_two_pictures_that_would_be_one_copy_are_told(data, tmp_path) -> None:
    Image.new("RGB", (8, 8)).save(data / "tall.jpg")
    assert "tall.jpg" in warnings(done(run(tmp_path / "out", kind="resize", path=str(data), to=str(tmp_path / "small"))))


@pytest.mark.parametrize("kind", ["resize", "split", "mask", "controls"])
def test_results_never_go_into_the_folder_that_is_read(kind, data, tmp_path) -> None:
    before, more = contents(data), {"controls": ["line"]} if kind == "controls" else {}
    assert "not apart from" in failure(run(tmp_path / "out", kind=kind, path=str(data), to=str(data / "inside"), **more))
    assert contents(data) == before


# -- split ------------------------------------------------------------------------------------------------------------


def test_a_split_is_the_same_each_time_and_keeps_variants_together() -> None:
    names = [Path(f"{index // 2}__{index % 2}.png") for index in range(40)]
    aside = held_out(names, 0.2, 42)
    assert len(aside) == 8 and aside == held_out(names[::-1], 0.2, 42) != held_out(names, 0.2, 7)
    assert all((Path(f"{name.stem[:-1]}{1 - int(name.stem[-1])}.png") in aside) for name in aside)
    assert len(held_out(names[:2], 0.001, 42)) == 2  # at least one picture, with its variants


def test_copies_of_both_parts_have_their_captions_and_lists_name_them(data, tmp_path) -> None:
    before = contents(data)
    done(run(tmp_path / "out", kind="split", path=str(data), to=str(tmp_path / "split"), share=0.34))
    parts = contents(tmp_path / "split")
    names = {name.split("/", 1)[1] for name in parts}
    assert names == set(before) and all(content == before[name.split("/", 1)[1]] for name, content in parts.items())
    assert len([name for name in parts if name.startswith("validation/") and not name.endswith(".txt")]) == 1
    done(run(tmp_path / "out2", kind="split", path=str(data), to=str(tmp_path / "lists"), share=0.34, form="lists"))
    listed = {part: (tmp_path / "lists" / f"{part}.txt").read_text().split("\n")[:-1] for part in ("train", "validation")}
    assert {part: sorted(names) for part, names in listed.items()} == {
        part: sorted(name.split("/", 1)[1] for name in parts if name.startswith(part) and not name.endswith(".txt")) for part in listed
    }


def test_a_folder_with_another_split_is_not_mixed_with_this_one(data, tmp_path) -> None:
    job = {"kind": "split", "path": str(data), "to": str(tmp_path / "split"), "share": 0.34}
    done(run(tmp_path / "one", **job))
    told = [run(tmp_path / f"two{seed}", **job, seed=seed)[-1] for seed in range(6)]
    assert any(event.kind == "failed" and "another split" in event.message for event in told)


# -- frames -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def video(tmp_path) -> Path:
    """Four seconds, a frame each half second, each of its own grey."""
    path = tmp_path / "clips" / "walk.gif"
    path.parent.mkdir()
    shots = [Image.new("RGB", (32, 16), (index * 30,) * 3) for index in range(8)]
    shots[0].save(path, save_all=True, append_images=shots[1:], duration=500)
    return path


def greys(folder: Path) -> dict[str, int]:
    return {path.name: int(np.asarray(Image.open(path)).mean()) for path in sorted(folder.glob("*.png"))}


def test_a_picture_is_taken_every_so_many_seconds(video, tmp_path) -> None:
    done(run(tmp_path / "out", kind="frames", path=str(video.parent), to=str(tmp_path / "stills"), every=1.0, start=0.5))
    assert greys(tmp_path / "stills/walk") == {
        "walk_000000500.png": 30,
        "walk_000001500.png": 90,
        "walk_000002500.png": 150,
        "walk_000003500.png": 210,
    }
    done(run(tmp_path / "out2", kind="frames", path=str(video.parent), to=str(tmp_path / "few"), every=0.1, max_frames=3))
    assert list(greys(tmp_path / "few/walk").values()) == [0, 30, 60]


def test_a_video_file_is_read_by_pyav(tmp_path) -> None:
    import av

    path = tmp_path / "clips" / "walk.mp4"
    path.parent.mkdir()
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=4, width=32, height=16, pix_fmt="yuv420p")
        for index in range(8):
            frame = av.VideoFrame.from_image(Image.new("RGB", (32, 16), (index * 30,) * 3))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    done(run(tmp_path / "out", kind="frames", path=str(path), to=str(tmp_path / "stills")))
    found = greys(tmp_path / "stills/walk")
    assert list(found) == ["walk_000000000.png", "walk_000001000.png"] and abs(found["walk_000001000.png"] - 120) < 8


def test_a_broken_video_is_told_and_the_others_are_read(video, tmp_path) -> None:
    (video.parent / "broken.mp4").write_bytes(b"no video")
    events = done(run(tmp_path / "out", kind="frames", path=str(video.parent), to=str(tmp_path / "stills")))
    assert "broken.mp4" in warnings(events) and len(greys(tmp_path / "stills/walk")) == 4


def test_a_folder_without_videos_is_told(data, tmp_path) -> None:
    assert "no videos" in failure(run(tmp_path / "out", kind="frames", path=str(data), to=str(tmp_path / "stills")))


def test_an_aspect_is_two_numbers() -> None:
    with pytest.raises(JobError, match="aspect"):
        load_job({"kind": "resize", "name": "x", "path": "x", "to": "y", "aspect": "square"})
