"""Where the subject is: boxes beside the pictures, in their captions' files, or in tables; a wrong one is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.data.mates.subjects import find_focuses, read_subject
from engine.data.scan import scan
from engine.data.sizes.crops import CENTRE, TOP
from engine.errors import JobError
from engine.jobs import Dataset

SIZE = (200, 100)


def beside(folder: Path, name: str, data: Any) -> Path:
    (folder / name).write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return folder / "a.png"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.box.json", {"box": [20, 10, 120, 60]}),
        ("a.box.json", [20, 10, 120, 60]),
        ("a.box.json", {"face": [20, 10, 120, 60], "box": [0, 0, 200, 100]}),
        ("a.box.json", {"bbox": [20, 10, 100, 50]}),
        ("a.box.json", {"box": [0.1, 0.1, 0.6, 0.6]}),
        ("a.box.json", {"bbox": [0.1, 0.1, 0.5, 0.5]}),
        ("a.json", {"caption": "words", "box": [20, 10, 120, 60]}),
        ("a.json", "\ufeff" + json.dumps({"caption": "words", "face": [20, 10, 120, 60]})),
        ("metadata.jsonl", {"file_name": "a.png", "text": "words", "bbox": [20, 10, 100, 50]}),
        ("metadata.csv", 'file_name,text,box\na.png,words,"[20, 10, 120, 60]"\n'),
    ],
)
def test_a_box_is_read_wherever_it_may_stand(tmp_path, name, data):
    path = beside(tmp_path, name, data)
    assert find_focuses([path], [SIZE], tmp_path, "subject")[0] == pytest.approx((0.1, 0.1, 0.6, 0.6))


def test_the_nearest_place_counts_first(tmp_path):
    beside(tmp_path, "metadata.jsonl", {"file_name": "a.png", "box": [0, 0, 20, 10]})
    beside(tmp_path, "a.json", {"caption": "words", "box": [0, 0, 40, 20]})
    path = beside(tmp_path, "a.box.json", {"box": [0, 0, 60, 30]})
    for name, right in (("a.box.json", 0.3), ("a.json", 0.2), ("metadata.jsonl", 0.1)):
        assert find_focuses([path], [SIZE], tmp_path, "subject")[0][2] == pytest.approx(right)
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"box": [20, 10, 300, 60]}, r"reaches out of the picture \(200 × 100\)"),
        ({"box": [-5, 10, 30, 60]}, "reaches out"),
        ({"box": [120, 10, 20, 60]}, "without an extent"),
        ({"bbox": [20, 10, 0, 50]}, "without an extent"),
        ({"box": [1, 2, 3]}, "must be four numbers"),
        ({"box": "everything"}, "must be four numbers"),
        ({"box": [True, 0, 1, 1]}, "must be four numbers"),
        ('{"box": [0, 0, NaN, 1]}', "must be four numbers"),
        ({"bx": [1, 2, 3, 4]}, "has no box in it"),
        ("{", "is not valid JSON"),
    ],
)
def test_a_wrong_box_is_named(tmp_path, data, message):
    path = beside(tmp_path, "a.box.json", data)
    with pytest.raises(JobError, match=rf"{tmp_path.name}/a\.box\.json.*{message}"):
        read_subject(path, SIZE)


def test_a_wrong_box_in_a_table_is_named_by_its_line(tmp_path):
    path = beside(tmp_path, "metadata.jsonl", '{"file_name": "b.png"}\n{"file_name": "a.png", "box": 7}\n')
    with pytest.raises(JobError, match=r"metadata\.jsonl, line 2: box is 7"):
        find_focuses([path], [SIZE], tmp_path, "subject")


def test_a_box_may_be_rounded_up_by_a_pixel(tmp_path):
    assert read_subject(beside(tmp_path, "a.box.json", [0, 0, 200.6, 101]), SIZE) == (0, 0, 1, 1)


def test_the_crop_of_a_data_set_reaches_its_items(tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", SIZE).save(tmp_path / f"{name}.png")
    chosen = {crop: Dataset(path=str(tmp_path), default_caption="", crop=crop) for crop in ("center", "top", "subject")}
    assert [item.focus for item in scan(chosen["center"])] == [CENTRE, CENTRE]
    assert [item.focus for item in scan(chosen["top"])] == [TOP, TOP]
    with pytest.raises(JobError, match="none of the pictures has a box") as caught:
        scan(chosen["subject"])
    assert "box.json" in caught.value.hint
    beside(tmp_path, "b.box.json", [0, 0, 100, 100])
    assert [item.focus for item in scan(chosen["subject"])] == [CENTRE, (0, 0, 0.5, 1)]
