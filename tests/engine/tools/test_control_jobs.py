"""Control pictures: what each kind shows, and that they are made again when their picture changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from drive import contents, done, failure, run, stop_at, warnings
from PIL import Image
from tiny import lookers

from engine.control import Control
from engine.data.mates.controls import find_mates
from engine.errors import JobError
from engine.jobs.tools.controls import Annotators
from engine.jobs.tools.masks import ClipSeg, Labels
from engine.tools.annotators.edges import canny, line
from engine.tools.annotators.pose import COCO, LIMBS, draw, points_of
from engine.tools.controls import control_paths, make_controls, open_annotator
from engine.tools.targets import pictures_in


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    (folder / "in").mkdir(parents=True)
    box().save(folder / "in/box.png")
    Image.effect_noise((30, 20), 90).convert("RGB").save(folder / "noise.jpg")
    return folder


def box(colour: str = "white") -> Image.Image:
    """A square on black, with its corners at 20 and 44."""
    picture = Image.new("RGB", (64, 64))
    picture.paste(colour, (20, 20, 44, 44))
    return picture


def test_canny_draws_the_outline_one_pixel_wide_and_nothing_else() -> None:
    edges = np.asarray(canny(box(), 0.1, 0.2)) == 255
    rows, columns = np.nonzero(edges)
    assert rows.min() in (19, 20) and rows.max() in (43, 44) and columns.min() in (19, 20) and columns.max() in (43, 44)
    assert edges[32].sum() == 2 and edges[:, 32].sum() == 2  # one line at each side
    assert not edges[24:40, 24:40].any()


def test_a_faint_edge_is_kept_only_where_it_goes_on_from_a_clear_one() -> None:
    fading = np.zeros((40, 100), dtype=np.uint8)
    fading[20:] = np.linspace(255, 30, 100)  # an edge that is clear on the left and faint on the right
    lengths = [
        (np.asarray(canny(Image.fromarray(fading), low, high)) > 0).any(axis=0).sum()
        for low, high in ((0.05, 0.4), (0.4, 0.4), (0.05, 0.99))
    ]
    assert lengths[0] > 95 and 20 < lengths[1] < 70 and lengths[2] == 0


def test_lines_are_white_on_black_and_a_plain_picture_has_none() -> None:
    drawn = np.asarray(line(box()))
    assert drawn.max() == 255 and drawn[2, 2] == 0 and drawn[32, 32] == 0 and drawn[32, 19] > 100
    assert not np.asarray(line(Image.new("RGB", (32, 32), "grey"))).any()


def test_each_kind_has_a_folder_that_serves_as_control_path(data, tmp_path) -> None:
    before, paths = contents(data), pictures_in(data)
    list(make_controls(paths, data, ["line", "canny", "line"], tmp_path / "made", Control()))
    folders = control_paths(tmp_path / "made", ["line", "canny"])
    assert [find_mates(paths, data, folder) for folder in folders] == [
        [tmp_path / f"made/{kind}/in/box.png", tmp_path / f"made/{kind}/noise.png"] for kind in ("line", "canny")
    ]
    assert Image.open(tmp_path / "made/line/noise.png").size == (30, 20) and contents(data) == before


def test_only_what_changed_is_made_again(data, tmp_path) -> None:
    def made() -> list[str]:
        events = list(make_controls(pictures_in(data), data, ["line"], tmp_path / "made", Control()))
        return [f"{event.done} of {event.total}" for event in events if event.kind == "progress"]

    assert made() == ["1 of 2", "2 of 2"] and made() == []
    box("red").save(data / "in/box.png")
    os.utime(data / "in/box.png", ns=(1, 1))  # a copy of an older file
    before = (tmp_path / "made/line/in/box.png").read_bytes()
    assert made() == ["2 of 2"] and (tmp_path / "made/line/in/box.png").read_bytes() != before


def test_a_stopped_job_goes_on(data, tmp_path) -> None:
    job = {"kind": "controls", "path": str(data), "to": str(tmp_path / "made"), "controls": ["canny", "line"]}
    assert done(run(tmp_path / "out", stop_at(3), **job))[-1].reason == "stopped"
    assert len(contents(tmp_path / "made")) == 3
    assert done(run(tmp_path / "out", **job))[-1].reason == "completed" and len(contents(tmp_path / "made")) == 4


def test_a_preview_is_among_the_samples_of_the_run(data, tmp_path) -> None:
    events = done(run(tmp_path / "out", kind="controls", path=str(data), to=str(tmp_path / "made"), controls=["canny", "line"], preview=1))
    shown = [event for event in events if event.kind == "sampled"]
    assert [event.prompt for event in shown] == ["canny: box.png", "line: box.png"] and not (tmp_path / "made").exists()
    assert all((tmp_path / "out/run" / event.path).is_file() for event in shown)


def test_a_broken_picture_is_told_and_the_others_are_made(data, tmp_path) -> None:
    (data / "broken.png").write_bytes(b"no picture")
    events = done(run(tmp_path / "out", kind="controls", path=str(data), to=str(tmp_path / "made"), controls=["line"]))
    assert "broken.png cannot be read" in warnings(events) and len(contents(tmp_path / "made")) == 2 and events[-1].reason == "completed"


# -- models -----------------------------------------------------------------------------------------------------------


def test_depth_fills_the_range_in_the_size_of_the_picture(tmp_path) -> None:
    made = open_annotator("depth", Annotators(depth_model=str(lookers.depth_anything(tmp_path / "model"))))
    noise = Image.effect_noise((50, 30), 90).convert("RGB")
    assert made(noise).size == (50, 30) and made(noise).getextrema() == (0, 255)


def test_what_is_near_is_light_for_models_of_distance_too(tmp_path) -> None:
    near, far = lookers.depth_anything(tmp_path / "near"), lookers.depth_anything(tmp_path / "far")
    config = json.loads((far / "config.json").read_text())
    (far / "config.json").write_text(json.dumps(config | {"depth_estimation_type": "metric", "max_depth": 1}))  # a sigmoid: the same order
    noise = Image.effect_noise((42, 42), 90).convert("RGB")
    one, two = (np.asarray(open_annotator("depth", Annotators(depth_model=str(folder)))(noise)).ravel() for folder in (near, far))
    assert np.corrcoef(one, two)[0, 1] < -0.2


def test_poses_are_drawn_where_the_detector_finds_a_person_and_nowhere_else(tmp_path) -> None:
    pose, picture = str(lookers.vitpose(tmp_path / "pose")), Image.effect_noise((80, 60), 90).convert("RGB")
    sure = open_annotator("pose", Annotators(pose_model=pose, person_model=str(lookers.detector(tmp_path / "sure"))))
    assert sure(picture).size == (80, 60) and np.asarray(sure(picture)).any()
    unsure = open_annotator("pose", Annotators(pose_model=pose, person_model=str(lookers.detector(tmp_path / "unsure", -10.0))))
    assert not np.asarray(unsure(picture)).any()


def test_a_skeleton_has_its_neck_between_the_shoulders_and_no_limb_to_what_was_not_seen() -> None:
    places = [(float(index), float(index)) for index in range(17)]
    points = points_of(places, [1.0] * 17)
    assert points[1] == (5.5, 5.5) and [points[index] for index in (0, 2, 5, 14, 17)] == [(0, 0), (6, 6), (5, 5), (2, 2), (3, 3)]
    assert len(COCO) == 18 and len(LIMBS) == 17
    seen = points_of(places, [1.0 if index in (8, 10) else 0.0 for index in range(17)])
    assert [index for index, point in enumerate(seen) if point] == [3, 4]
    lone: list = [None] * 18
    lone[3], lone[4] = (10.0, 10.0), (10.0, 40.0)
    drawn = draw((64, 64), [lone])
    assert any(drawn.getpixel((10, 25))) and not any(drawn.getpixel((40, 25)))
    assert drawn.getpixel((10, 10)) == (255, 255, 0) and drawn.getpixel((10, 40)) == (170, 255, 0)  # OpenPose's colours of elbow and wrist


def test_the_subject_is_a_mask_or_a_hole_in_the_picture(tmp_path) -> None:
    everything = Labels(type="labels", model_name_or_path=str(lookers.segformer(tmp_path / "model")))
    settings = Annotators(masker=everything)
    assert open_annotator("mask", settings)(box()).getextrema() == (255, 255)
    hole = open_annotator("inpaint", settings)(box())
    assert hole.mode == "RGBA" and hole.getchannel("A").getextrema() == (0, 0) and hole.convert("RGB").getpixel((30, 30)) == (255, 255, 255)


def test_a_model_that_is_not_here_is_one_sentence(data, tmp_path) -> None:
    told = failure(run(tmp_path / "out", kind="controls", path=str(data), to=str(tmp_path / "made"), controls=["depth"]))
    assert "Depth-Anything-V2-Small-hf is not on this computer" in told and "canny or line" in told


def test_a_detector_without_persons_is_told(tmp_path) -> None:
    folder = lookers.detector(tmp_path / "model")
    config = (folder / "config.json").read_text().replace('"person"', '"teapot"')
    (folder / "config.json").write_text(config)
    with pytest.raises(JobError, match="knows no persons"):
        open_annotator("pose", Annotators(pose_model=str(lookers.vitpose(tmp_path / "pose")), person_model=str(folder)))


def test_clipseg_is_what_finds_the_subject_unless_another_is_given() -> None:
    assert isinstance(Annotators().masker, ClipSeg)
