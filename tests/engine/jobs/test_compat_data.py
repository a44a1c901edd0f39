"""AI Toolkit's data sets as ours: folders, captions, reference pictures, augmentations and videos."""

from __future__ import annotations

from typing import Any

import pytest
from ai_toolkit import changed, flux, read


def test_folders_of_reference_pictures_are_taken_over_in_their_order() -> None:
    assert read(changed("datasets", control_path="x"))[0].datasets[0].control_path == ["x"]
    assert read(changed("datasets", control_path=["x", "y"], control_path_1=None))[0].datasets[0].control_path == ["x", "y"]
    assert read(changed("datasets", control_path_2="b", control_path_1="a"))[0].datasets[0].control_path == ["a", "b"]


def test_what_is_done_to_captions_is_taken_over() -> None:
    given = {
        "shuffle_tokens": True, "keep_tokens": 2, "token_dropout_rate": 0.1, "use_short_captions": True, "random_triggers": "words.txt",
        "random_triggers_max": 3, "replacements": ["dog|[trigger]"],
    }  # fmt: skip
    job, notes = read(changed("datasets", **given))
    assert job.datasets[0].model_dump(include=set(given)) == {**given, "random_triggers": ["words.txt"]}
    assert not any(key in notes for key in given)


def test_a_map_of_pictures_is_the_data_set() -> None:
    assert read(changed("datasets", folder_path=None, dataset_path="/data/cats.json"))[0].datasets[0].path == "/data/cats.json"


def test_a_trigger_word_stands_for_captions_that_are_missing() -> None:
    job, notes = read(flux(trigger_word="p3r5on"))
    assert job.trigger_word == "p3r5on" and job.datasets[0].default_caption == "[trigger]"
    assert "before every caption" in notes
    assert read(flux())[0].datasets[0].default_caption is None  # then a missing caption is an error that is told


def test_augmentations_are_taken_over_with_their_share_among_the_settings() -> None:
    job, _ = read(changed("datasets", augmentations=[{"method": "Rotate", "params": {"limit": 5, "p": 0.25}}]))
    (one,) = job.datasets[0].augmentations
    assert (one.method, one.p, one.params) == ("Rotate", 0.25, {"limit": 5})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"num_frames": 1, "do_i2v": True, "shrink_video_to_frames": True, "fps": 24}, {}),  # pictures alone
        ({"num_frames": 41}, {"num_frames": 41}),
        ({"num_frames": 41, "fps": 16, "do_i2v": True}, {"num_frames": 41, "do_i2v": True}),  # spread over the video: at no rate
        ({"num_frames": 41, "shrink_video_to_frames": False}, {"num_frames": 41, "shrink_video_to_frames": False, "fps": 24}),
        ({"num_frames": 41, "auto_frame_count": True, "fps": 16}, {"auto_frame_count": True, "fps": 16}),
        (
            {"auto_frame_count": True, "trim_auto_frame_count_tail": False},
            {"auto_frame_count": True, "trim_auto_frame_count_tail": False, "fps": 24},
        ),
    ],
)
def test_keys_of_videos_mean_what_they_mean_there(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    names = ("num_frames", "fps", "shrink_video_to_frames", "auto_frame_count", "trim_auto_frame_count_tail", "do_i2v")
    job, _ = read(changed("datasets", **theirs))
    given = job.datasets[0].model_dump(include=set(names), exclude_unset=True)
    assert given == ours
