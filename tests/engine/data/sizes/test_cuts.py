"""Videos among the pictures of a data set: which are taken, and how many frames of each."""

from __future__ import annotations

import pytest
from clips import film, sound
from pictures import draw

from engine.data.files.clips import Clip, Cut
from engine.data.scan import scan
from engine.data.sizes.cuts import cut_items
from engine.errors import JobError
from engine.jobs import Dataset


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "clips"
    film(folder / "a.mp4", 20, caption="long")
    film(folder / "b" / "short.webm", 7, caption="short")
    film(folder / "c.gif", 12, caption="moving")
    draw(folder / "d.png", (64, 48), caption="still")
    return folder


def cut(folder, makes_videos=True, multiple=4, **settings):
    dataset = Dataset(path=str(folder), **settings)
    items, notes = cut_items([dataset], scan(dataset), "Wan", makes_videos, multiple, 16)
    return {item.path.name: item.cut for item in items}, [note.message for note in notes]


def test_videos_and_pictures_are_found_together(folder):
    items = scan(Dataset(path=str(folder), num_frames=9))
    assert [(item.path.name, item.caption, item.clip and item.clip.frames) for item in items] == [
        ("a.mp4", "long", 20), ("short.webm", "short", 7), ("c.gif", "moving", 12), ("d.png", "still", None),
    ]  # fmt: skip
    assert items[0].clip == Clip(64, 48, 20, pytest.approx(20 / 24)) and (items[0].width, items[0].height) == (64, 48)


def test_videos_are_left_aside_unless_a_number_of_frames_is_given_and_that_is_told(folder):
    notes = []
    items = scan(Dataset(path=str(folder)), notes=notes)
    assert [item.path.name for item in items] == ["c.gif", "d.png"] and all(item.clip is None for item in items)
    assert [note.message for note in notes] == ["2 videos are left aside: clips/a.mp4, b/short.webm."]
    (folder / "c.gif").unlink()
    (folder / "d.png").unlink()
    with pytest.raises(JobError, match="only videos") as caught:
        scan(Dataset(path=str(folder)))
    assert "num_frames" in caught.value.hint


def test_a_video_that_cannot_be_read_is_named_and_left_out(folder):
    sound(folder / "e.mp4")
    (folder / "f.mkv").write_bytes(b"")
    notes = []
    items = scan(Dataset(path=str(folder), num_frames=9, default_caption=""), notes=notes)
    assert not {"e.mp4", "f.mkv"} & {item.path.name for item in items} and items
    assert "clips/e.mp4 (there is no video in it), clips/f.mkv (it is empty)" in notes[0].message


def test_a_clip_that_is_too_short_is_learned_at_the_most_that_the_model_takes_and_told(folder):
    cuts, notes = cut(folder, num_frames=9)
    assert cuts == {"a.mp4": Cut(9), "short.webm": Cut(5), "c.gif": Cut(9), "d.png": None}
    assert notes == ["1 video is shorter than 9 frames, and learned at the most that Wan takes of them: b/short.webm (5 frames)."]


def test_a_number_of_frames_that_the_model_does_not_take_is_rounded_down_and_told(folder):
    cuts, notes = cut(folder, num_frames=7)
    assert {name: one.frames for name, one in cuts.items() if one} == {"a.mp4": 5, "short.webm": 5, "c.gif": 5}
    assert notes == ["datasets[0].num_frames is 7; Wan takes 5: a multiple of 4, and one."]


def test_one_frame_of_a_video_is_a_picture_for_any_model(folder):
    cuts, notes = cut(folder, makes_videos=False, multiple=1, num_frames=1)
    assert cuts == {"a.mp4": Cut(1), "short.webm": Cut(1), "c.gif": None, "d.png": None} and not notes


def test_videos_for_a_model_that_makes_pictures_are_an_error_that_names_them(folder):
    with pytest.raises(JobError, match=r"makes pictures, and the data has 3 videos: clips/a.mp4, b/short.webm, clips/c.gif") as caught:
        cut(folder, makes_videos=False, num_frames=9)
    assert "num_frames to 1" in caught.value.hint


def test_as_many_frames_as_each_clip_has_at_a_rate(folder):
    cuts, notes = cut(folder, auto_frame_count=True)
    assert cuts == {"a.mp4": Cut(13, 16, True), "short.webm": Cut(5, 16, True), "c.gif": Cut(5, 16, True), "d.png": None} and not notes
    cuts, _ = cut(folder, auto_frame_count=True, fps=24, num_frames=17, trim_auto_frame_count_tail=False)
    assert cuts["a.mp4"] == Cut(17) and cuts["short.webm"] == Cut(5)


def test_the_rate_is_the_models_unless_one_is_given(folder):
    assert cut(folder, num_frames=5, shrink_video_to_frames=False)[0]["a.mp4"] == Cut(5, 16)
    assert cut(folder, num_frames=5, shrink_video_to_frames=False, fps=8)[0]["a.mp4"] == Cut(5, 8)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"num_frames": 5, "fps": 12}, "fps has no effect"),
        ({"num_frames": 5, "trim_auto_frame_count_tail": False}, "trim_auto_frame_count_tail has no effect"),
        ({"auto_frame_count": True, "shrink_video_to_frames": False}, "shrink_video_to_frames has no effect"),
    ],
)
def test_a_key_without_effect_is_told(folder, settings, told):
    assert told in cut(folder, **settings)[1][0]


def test_frames_of_a_data_set_without_videos_are_told(tmp_path):
    draw(tmp_path / "stills" / "a.png", caption="a red field")
    assert "num_frames has no effect" in cut(tmp_path / "stills", num_frames=9)[1][0]


def test_each_frame_is_cut_turned_and_changed_alike(folder):
    import torch

    from engine.data.sizes.pixels import load_pixels
    from engine.jobs.data import Augmentation

    dataset = Dataset(path=str(folder), num_frames=9, flip_x=True)
    items, _ = cut_items([dataset], scan(dataset), "Wan", True, 4, 16)
    moving = [item for item in items if item.path.name == "a.mp4"]
    plain, mirrored = (load_pixels(item, (32, 48)) for item in moving)
    assert plain.shape == (3, 9, 48, 32) and torch.equal(mirrored, plain.flip(3))
    shades = [round(((plain[:, index].mean().item() + 1) * 127.5 - 10) / 12) for index in range(9)]
    assert shades == [0, 2, 4, 7, 9, 11, 14, 16, 19]
    steps = [Augmentation(method="RandomBrightnessContrast", params={"contrast_limit": 0})]
    changed = load_pixels(moving[0], (32, 48), None, steps, (1, 2, 3))
    ratio = (changed.mean((0, 2, 3)) + 1)[2:] / (plain.mean((0, 2, 3)) + 1)[2:]
    assert (ratio - ratio[0]).abs().max() < 0.03 and (ratio[0] - 1).abs() > 0.01
