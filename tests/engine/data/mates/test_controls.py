"""Reference pictures: each picture's mates, in the order of their folders; one that is missing is told before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from engine.data.scan import scan
from engine.errors import JobError
from engine.jobs import Dataset


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32)).save(path)
    path.with_suffix(".txt").write_text("words")
    return path


def dataset(folder: Path, *controls: str) -> Dataset:
    return Dataset(path=str(folder / "data"), control_path=[str(folder / name) for name in controls])


def test_mates_have_the_same_path_and_any_ending_and_keep_their_order(tmp_path: Path) -> None:
    for name in ("one.png", "sub/one.jpg"):
        picture(tmp_path / "data" / name)
    before = [picture(tmp_path / "b" / "one.webp"), picture(tmp_path / "b" / "sub" / "one.png")]
    masks = [picture(tmp_path / "a" / "one.png"), picture(tmp_path / "a" / "sub" / "one.png")]
    picture(tmp_path / "a" / "another.png")
    items = scan(dataset(tmp_path, "b", "a"))
    assert [item.controls for item in items] == list(zip(before, masks))
    assert [item.controls for item in scan(dataset(tmp_path))] == [(), ()]


def test_a_missing_mate_is_an_error_that_names_the_picture(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "one.png")
    picture(tmp_path / "data" / "two.png")
    picture(tmp_path / "a" / "one.png")
    with pytest.raises(JobError, match=r"1 picture has no reference picture in .*a: data/two\.png"):
        scan(dataset(tmp_path, "a"))
    with pytest.raises(JobError, match="There is no folder"):
        scan(dataset(tmp_path, "nowhere"))


def test_two_mates_for_one_picture_are_an_error_that_names_both(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "one.png")
    picture(tmp_path / "a" / "one.png")
    picture(tmp_path / "a" / "one.jpg")
    with pytest.raises(JobError, match=r"2 pictures for one: a/one\.jpg, a/one\.png"):
        scan(dataset(tmp_path, "a"))


def test_controls_and_masks_inside_the_data_set_are_not_learned(tmp_path: Path) -> None:
    names = ("one.png", "sub/two.png")
    for name in names:
        for folder in ("data", "data/controls/a", "data/masks"):
            picture(tmp_path / folder / name)
    settings = dataset(tmp_path, "data/controls/a").model_copy(update={"mask_path": str(tmp_path / "data" / "masks")})
    items = scan(settings)
    assert [item.path.relative_to(tmp_path / "data").as_posix() for item in items] == list(names)
    assert [item.controls[0].relative_to(tmp_path / "data" / "controls" / "a").as_posix() for item in items] == list(names)
    assert len(scan(dataset(tmp_path))) == 6
    (tmp_path / "link").symlink_to(tmp_path / "data" / "controls" / "a")
    linked = settings.model_copy(update={"control_path": [str(tmp_path / "link")]})
    assert len(scan(linked)) == 2, "a link to a folder inside is that folder"


def test_a_folder_whose_name_only_begins_alike_is_learned(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "one.png")
    picture(tmp_path / "data" / "a" / "one.png")
    picture(tmp_path / "data" / "ab" / "two.png")
    picture(tmp_path / "data" / "a" / "ab" / "two.png")
    assert [item.path.name for item in scan(dataset(tmp_path, "data/a"))] == ["two.png", "one.png"]


def test_others_of_the_same_folder_are_drawn_once_and_for_all(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        for number in range(6):
            picture(tmp_path / "data" / folder / f"{number}.png")
    settings = dataset(tmp_path).model_copy(update={"control_from_same_folder": True, "num_controls_from_same_folder": 3})
    items = scan(settings)
    assert items == scan(settings)
    for item in items:
        assert len(set(item.controls)) == 3 and item.path not in item.controls
        assert {mate.parent for mate in item.controls} == {item.path.parent}
    assert len({tuple(mate.name for mate in item.controls) for item in items}) > 6


def test_a_picture_without_others_beside_it_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "x" / "one.png")
    picture(tmp_path / "data" / "y" / "one.png")
    picture(tmp_path / "data" / "y" / "two.png")
    settings = dataset(tmp_path).model_copy(update={"control_from_same_folder": True})
    with pytest.raises(JobError, match=r"1 picture has fewer than 1 other beside them to be shown: x/one\.png"):
        scan(settings)
    with pytest.raises(ValueError, match="control_path is given too"):
        Dataset(path="x", control_path=["y"], control_from_same_folder=True)
