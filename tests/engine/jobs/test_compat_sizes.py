"""AI Toolkit's keys of sizes, crops and reference pictures: what they do there is done here, or it is said."""

from __future__ import annotations

from typing import Any

import pytest

from engine.jobs import TrainJob, load_job_with_notes


def read(**dataset: Any) -> tuple[Any, str]:
    process = {"type": "sd_trainer", "model": {"name_or_path": "x"}, "datasets": [{"folder_path": "pictures", **dataset}]}
    job, notes = load_job_with_notes({"job": "extension", "config": {"name": "run", "process": [process]}})
    assert isinstance(job, TrainJob)
    return job.datasets[0], " ".join(note.message for note in notes)


def test_keys_of_the_same_name_are_taken_over() -> None:
    data, _ = read(random_crop=True, scale=0.5, buckets=True, control_from_same_folder=True, num_controls_from_same_folder=2)
    assert (data.random_crop, data.scale, data.buckets) == (True, 0.5, [])
    assert (data.control_from_same_folder, data.num_controls_from_same_folder) == (True, 2)
    assert not data.square_crop and not data.upscale


@pytest.mark.parametrize("squares", [{"buckets": False}, {"square_crop": True}])
def test_squares_are_enlarged_there_and_here(squares: dict[str, bool]) -> None:
    data, _ = read(**squares)
    assert data.square_crop and data.upscale and data.buckets == []


def test_its_zoom_works_on_squares_that_are_cropped_at_random_alone() -> None:
    data, notes = read(random_scale=True, random_crop=True)
    assert not data.random_scale and "datasets[0].random_scale" in notes
    data, notes = read(random_scale=True, random_crop=True, buckets=False)
    assert data.random_scale and data.random_crop and "random_scale" not in notes


def test_the_numbered_folders_become_one_list() -> None:
    data, notes = read(control_path_1="a", control_path_2="b", control_path_3="c")
    assert data.control_path == ["a", "b", "c"] and "control_path" not in notes
    data, notes = read(control_path="z", control_path_1="a")
    assert data.control_path == ["a"] and "datasets[0].control_path is left out" in notes
    data, notes = read(control_path="a", control_path_1="a")
    assert data.control_path == ["a"] and "control_path" not in notes


def test_a_number_that_is_left_out_is_said() -> None:
    data, notes = read(control_path_2="b", control_path_1="")
    assert data.control_path == ["b"] and "leaves out a number" in notes
