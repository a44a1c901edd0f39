"""Masks: what is found, how it is shaped, and where it goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from drive import contents, done, failure, run, stop_at, warnings
from PIL import Image
from tiny import lookers

from engine.data.mates.controls import find_mates
from engine.errors import JobError
from engine.jobs.tools.masks import ClipSeg, Labels, MaskJob
from engine.tools.annotators.segments import open_segments
from engine.tools.masks import finished


@pytest.fixture
def data(tmp_path) -> Path:
    """A picture with a transparent left half, in a folder; one without transparency."""
    folder = tmp_path / "data"
    (folder / "in").mkdir(parents=True)
    half = Image.new("RGBA", (40, 20), "red")
    half.paste((0, 0, 0, 0), (0, 0, 20, 20))
    half.save(folder / "in/half.png")
    Image.effect_noise((24, 32), 80).convert("RGB").save(folder / "whole.jpg")
    return folder


def job(data: Path, tmp_path: Path, **keys) -> dict:
    return {"kind": "mask", "path": str(data), "to": str(tmp_path / "masks"), "masker": {"type": "alpha"}, **keys}


def test_a_mask_has_the_size_of_its_picture_and_is_found_as_its_mate(data, tmp_path) -> None:
    before = contents(data)
    done(run(tmp_path / "out", **job(data, tmp_path)))
    half = np.asarray(Image.open(tmp_path / "masks/in/half.png"))
    assert half.shape == (20, 40) and not half[:, :20].any() and (half[:, 20:] == 255).all()
    assert np.asarray(Image.open(tmp_path / "masks/whole.png")).min() == 255 and contents(data) == before
    paths = [data / "in/half.png", data / "whole.jpg"]
    assert find_mates(paths, data, tmp_path / "masks") == [tmp_path / "masks/in/half.png", tmp_path / "masks/whole.png"]


def shape(**keys) -> MaskJob:
    return MaskJob(name="x", path="x", to="y", **keys)


def test_a_mask_grows_shrinks_turns_and_softens() -> None:
    found = Image.new("L", (100, 50))
    found.paste(255, (40, 20, 60, 30))
    assert finished(found, shape(grow=0.1)).getbbox() == (35, 15, 65, 35)
    assert finished(found, shape(grow=-0.04)).getbbox() == (42, 22, 58, 28)
    assert finished(found, shape(invert=True)).getpixel((50, 25)) == 0
    soft = np.asarray(finished(found, shape(blur=0.05)))
    assert len(np.unique(soft)) > 10 and soft[25, 50] > 200


def test_a_preview_shows_masks_as_samples_and_writes_no_other(data, tmp_path) -> None:
    events = done(run(tmp_path / "out", **job(data, tmp_path, preview=1)))
    shown = [event for event in events if event.kind == "sampled"]
    assert len(shown) == 1 and (tmp_path / "out/run" / shown[0].path).is_file() and not (tmp_path / "masks").exists()


def test_a_stopped_job_goes_on_with_the_pictures_that_have_no_mask(data, tmp_path) -> None:
    assert done(run(tmp_path / "out", stop_at(1), **job(data, tmp_path)))[-1].reason == "stopped"
    (tmp_path / "masks/in/half.png").write_bytes(b"mine")
    done(run(tmp_path / "out", **job(data, tmp_path)))
    assert (tmp_path / "masks/in/half.png").read_bytes() == b"mine" and (tmp_path / "masks/whole.png").is_file()
    assert "has a mask" in warnings(done(run(tmp_path / "out", **job(data, tmp_path))))


def test_a_picture_in_which_nothing_is_found_and_one_that_is_broken_are_told(data, tmp_path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(data / "empty.png")
    (data / "broken.png").write_bytes(b"no picture")
    told = warnings(done(run(tmp_path / "out", **job(data, tmp_path))))
    assert "Nothing was found in empty.png" in told and "broken.png cannot be read" in told


# -- models -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(data) -> list[Image.Image]:
    return [Image.open(data / "whole.jpg").convert("RGB"), Image.open(data / "in/half.png").convert("RGB")]


def test_clipseg_finds_what_the_stock_model_finds_and_several_words_find_all_of_it(pictures, tmp_path) -> None:
    folder = lookers.clipseg(tmp_path / "model")
    model = transformers.CLIPSegForImageSegmentation.from_pretrained(folder).eval()
    reader, images = (
        transformers.AutoTokenizer.from_pretrained(folder),
        transformers.AutoImageProcessor.from_pretrained(folder, backend="pil"),
    )

    def stock(picture: Image.Image, word: str) -> np.ndarray:
        with torch.no_grad():
            logits = model(**reader([word], return_tensors="pt"), **images(picture, return_tensors="pt")).logits
        return logits.reshape(32, 32).sigmoid().numpy()

    words = ["cat", "a longer one"]
    squares = [picture.resize((32, 32)) for picture in pictures]
    section = ClipSeg(type="clipseg", model_name_or_path=str(folder), prompts=words, threshold=0.5)
    found = open_segments(section)(pictures)
    assert [mask.size for mask in found] == [picture.size for picture in pictures]
    for mask, picture in zip(open_segments(section)(squares), squares, strict=True):
        one, two = (stock(picture, word) >= 0.5 for word in words)
        assert 0.05 < (one != two).mean() < 0.95
        assert (np.asarray(mask) == (one | two) * 255).mean() > 0.99


def test_fixed_names_are_found_by_segformer_and_mask2former(pictures, tmp_path) -> None:
    person = Labels(type="labels", model_name_or_path=str(lookers.segformer(tmp_path / "segformer")), labels=["Person"])
    assert all(np.asarray(mask).min() == 255 for mask in open_segments(person)(pictures))
    wall = person.model_copy(update={"labels": ["wall"]})
    assert all(np.asarray(mask).max() == 0 for mask in open_segments(wall)(pictures))
    universal = Labels(type="labels", model_name_or_path=str(lookers.mask2former(tmp_path / "mask2former")), labels=["wall", "person"])
    assert [(mask.size, np.asarray(mask).min()) for mask in open_segments(universal)(pictures)] == [
        (picture.size, 255) for picture in pictures
    ]


def test_a_name_that_the_model_does_not_know_is_told_with_the_nearest(tmp_path) -> None:
    with pytest.raises(JobError, match=r"knows no 'persons'.*Did you mean person"):
        open_segments(Labels(type="labels", model_name_or_path=str(lookers.segformer(tmp_path / "model")), labels=["persons"]))


def test_a_job_with_a_model_writes_masks_in_batches(data, tmp_path) -> None:
    masker = {"type": "labels", "model_name_or_path": str(lookers.segformer(tmp_path / "model")), "batch_size": 2}
    done(run(tmp_path / "out", **job(data, tmp_path, masker=masker, invert=True)))
    assert np.asarray(Image.open(tmp_path / "masks/in/half.png")).max() == 0


def test_a_model_that_is_not_here_is_one_sentence(data, tmp_path) -> None:
    assert "masker alpha" in failure(run(tmp_path / "out", **job(data, tmp_path, masker={"type": "clipseg"})))
