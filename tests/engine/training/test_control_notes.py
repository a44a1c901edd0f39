"""Control pictures that are enlarged are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from engine.data.scan import scan
from engine.data.sizes.buckets import place
from engine.jobs import Dataset
from engine.training.control_notes import small_controls


@pytest.fixture
def data(tmp_path) -> Dataset:
    for name, size in {"pictures/a": (512, 512), "pictures/b": (512, 256), "edges/a": (4, 4), "edges/b": (512, 256)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    return Dataset(path=str(tmp_path / "pictures"), control_path=[str(tmp_path / "edges")], default_caption="")


def told(data: Dataset, resolution: int) -> list[str]:
    items = scan(data)
    return [note.message for note in small_controls(items, place([data], items, resolution, 16))]


def test_a_control_picture_of_a_few_pixels_is_told_by_its_name_and_size(data):
    [said] = told(data, 512)
    assert said.startswith("1 control picture is enlarged to more than twice the size") and "a.png (4 x 4)" in said and "b.png" not in said


def test_a_control_picture_as_large_as_what_is_trained_at_is_not(data, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "edges" / "a.png")
    assert not told(data, 128) and told(data, 256)


def test_made_control_pictures_that_are_not_there_yet_say_nothing(data):
    [one, two] = scan(data)
    items = [replace(one, controls=(Path("canny"),)), two]
    assert not list(small_controls(items, place([data], items, 512, 16)))
