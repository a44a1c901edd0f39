"""Captions by names, templates and models: what is written, where, and what is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drive import captions, contents, done, failure, run, stop_at, warnings
from PIL import Image
from tiny import lookers

import engine.tools.captioners.tagger as tagging
from engine.check import check_job
from engine.errors import JobError
from engine.jobs import load_job
from engine.jobs.tools.captions import Blip, Florence2, QwenVl, Tagger
from engine.settings import ROOT, Settings, save_settings
from engine.tools.captioners import CAPTIONERS, load_captioner
from engine.tools.captioners.base import FUNCTIONS
from engine.tools.captioners.words import words_of

NAMES = {"type": "file_name"}


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three pictures of a person's, one in a folder, one with a caption."""
    folder = tmp_path / "photos"
    (folder / "at sea").mkdir(parents=True)
    for name, size in {"red_car-02.png": (48, 32), "b.jpg": (160, 90), "at sea/Boat.webp": (40, 110)}.items():
        Image.effect_noise(size, 90).convert("RGB").save(folder / name)
    (folder / "b.txt").write_text("mine", encoding="utf-8")
    return folder


def test_a_persons_folder_is_not_written_to_unless_the_job_says_so(photos, tmp_path) -> None:
    before = contents(photos)
    assert "in_place" in failure(run(tmp_path / "out", kind="caption", path=str(photos), captioner=NAMES))
    assert contents(photos) == before
    events = done(run(tmp_path / "out", kind="caption", path=str(photos), captioner=NAMES, in_place=True))
    assert captions(events) == {"red_car-02.png": "red car", "at sea/Boat.webp": "Boat"}
    assert contents(photos) == before | {"red_car-02.txt": b"red car", "at sea/Boat.txt": b"Boat"}


def test_a_data_set_made_in_the_app_is_written_to(photos, home, tmp_path) -> None:
    (home / "datasets").mkdir(exist_ok=True)
    own = photos.rename(home / "datasets" / "mine")
    done(run(tmp_path / "out", kind="caption", path=str(own), captioner=NAMES))
    assert (own / "red_car-02.txt").read_text() == "red car"


def test_captions_go_to_another_folder_under_the_same_names(photos, tmp_path) -> None:
    before = contents(photos)
    done(run(tmp_path / "out", kind="caption", path=str(photos), captioner=NAMES, write_to=str(tmp_path / "texts"), caption_ext="caption"))
    assert set(contents(tmp_path / "texts")) == {"red_car-02.caption", "b.caption", "at sea/Boat.caption"} and contents(photos) == before


@pytest.mark.parametrize("inside", ["photos/texts", ".", "photos"])
def test_results_are_kept_apart_from_the_pictures(photos, tmp_path, inside) -> None:
    told = failure(run(tmp_path / "out", kind="caption", path=str(photos), captioner=NAMES, write_to=str(tmp_path / inside)))
    assert "not apart from" in told


def test_a_caption_that_is_there_is_replaced_only_when_asked(photos, tmp_path) -> None:
    job = {"kind": "caption", "path": str(photos), "captioner": NAMES, "in_place": True}
    done(run(tmp_path / "one", **job))
    assert (photos / "b.txt").read_text() == "mine"
    events = done(run(tmp_path / "two", **job, skip_existing=False, prefix="[trigger], ", suffix="."))
    assert (photos / "b.txt").read_text() == "[trigger], b."
    assert {event.before for event in events if event.kind == "captioned"} == {"mine", "red car", "Boat"}


def test_a_caption_in_a_json_or_in_metadata_is_one_that_is_there(photos, tmp_path) -> None:
    (photos / "red_car-02.json").write_text('{"caption": "in json"}')
    (photos / "at sea/metadata.jsonl").write_text('{"file_name": "Boat.webp", "text": "in a table"}')
    job = {"kind": "caption", "path": str(photos), "captioner": NAMES, "in_place": True}
    events = done(run(tmp_path / "one", **job))
    assert "Every picture has a caption" in warnings(events) and captions(events) == {}
    events = done(run(tmp_path / "two", **job, skip_existing=False))
    assert {event.path: event.before for event in events if event.kind == "captioned"} == {
        "red_car-02.png": "in json", "at sea/Boat.webp": "in a table", "b.jpg": "mine"
    }  # fmt: skip
    (photos / "red_car-02.json").write_text('["odd"]')
    (photos / "red_car-02.txt").unlink()
    events = done(run(tmp_path / "three", **job))
    assert "red_car-02.json" in warnings(events) and captions(events) == {"red_car-02.png": "red car"}


def test_a_preview_shows_the_first_and_writes_nothing(photos, tmp_path) -> None:
    before = contents(photos)
    events = done(run(tmp_path / "out", kind="caption", path=str(photos), captioner=NAMES, preview=2))
    assert captions(events) == {"at sea/Boat.webp": "Boat", "b.jpg": "b"} and not any(
        event.written for event in events if event.kind == "captioned"
    )
    assert contents(photos) == before


def test_a_stopped_job_keeps_what_is_done_and_goes_on_from_there(photos, tmp_path) -> None:
    job = {"kind": "caption", "path": str(photos), "captioner": NAMES, "in_place": True, "skip_existing": False}
    first = done(run(tmp_path / "out", stop_at(1), **job))
    assert first[-1].reason == "stopped" and list(captions(first)) == ["at sea/Boat.webp"]
    second = done(run(tmp_path / "out", **job))
    assert list(captions(second)) == ["b.jpg", "red_car-02.png"] and second[-1].reason == "completed"


def test_a_template_fills_in_names_and_leaves_the_trigger_for_the_training(photos, tmp_path) -> None:
    captioner = {"type": "template", "text": "[trigger] [name] in [folder] \\1"}
    events = done(run(tmp_path / "out", kind="caption", path=str(photos), captioner=captioner, preview=1))
    assert captions(events) == {"at sea/Boat.webp": "[trigger] Boat in at sea \\1"}


@pytest.mark.parametrize(
    ("name", "words"), [("red_car-02", "red car"), ("IMG 7.a", "IMG a"), ("2024", ""), ("süß__1", "süß"), ("a1b", "a1b")]
)
def test_a_name_becomes_words(name, words) -> None:
    assert words_of(name) == words


def test_a_name_without_words_is_told_and_not_written(photos, tmp_path) -> None:
    (photos / "b.jpg").rename(photos / "0007.jpg")
    events = done(run(tmp_path / "out", kind="caption", path=str(photos), captioner=NAMES, in_place=True))
    assert "nothing to say of 0007.jpg" in warnings(events) and not (photos / "0007.txt").exists()


# -- models -----------------------------------------------------------------------------------------------------------


def describe(section, photos: Path, size: int) -> list[str]:
    """The captions of all pictures, ``size`` at once."""
    paths, captioner = sorted(photos.rglob("*.[jpw][pen][gb]*")), load_captioner(section)
    return [text for start in range(0, len(paths), size) for text in captioner(paths[start : start + size])]


MODELS = {
    "florence2": (
        lookers.florence2,
        lambda folder, **keys: Florence2(type="florence2", model_name_or_path=str(folder), max_new_tokens=8, **keys),
    ),
    "qwen2.5": (
        lookers.qwen2_5_vl,
        lambda folder, **keys: QwenVl(type="qwen_vl", model_name_or_path=str(folder), max_new_tokens=8, **keys),
    ),
    "qwen3": (
        lookers.qwen3_vl_folder,
        lambda folder, **keys: QwenVl(type="qwen_vl", model_name_or_path=str(folder), max_new_tokens=8, **keys),
    ),
    "blip": (lookers.blip, lambda folder, **keys: Blip(type="blip", model_name_or_path=str(folder), max_new_tokens=8, **keys)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_the_same_of_a_picture_alone_and_among_others(name, photos, tmp_path) -> None:
    save, section = MODELS[name]
    folder = save(tmp_path / name)
    alone = describe(section(folder), photos, 1)
    assert describe(section(folder), photos, 3) == alone and all(alone)


def test_a_model_that_takes_instructions_answers_to_them(photos, tmp_path) -> None:
    folder = lookers.qwen2_5_vl(tmp_path / "model")
    asked = [
        describe(MODELS["qwen2.5"][1](folder, caption_prompt=prompt), photos, 1)
        for prompt in ("what is it?", "describe all but the person")
    ]
    assert asked[0] != asked[1]


def test_florence_is_asked_for_as_much_as_the_job_says(photos, tmp_path) -> None:
    folder = lookers.florence2(tmp_path / "model")
    said = {
        detail: tuple(describe(MODELS["florence2"][1](folder, detail=detail), photos, 3)) for detail in ("caption", "more_detailed_caption")
    }
    assert len(set(said.values())) == 2


@pytest.mark.parametrize(("size", "side", "result"), [((400, 100), 100, (200, 50)), ((40, 10), 100, (40, 10)), ((1, 4000), 10, (1, 632))])
def test_qwen_sees_a_picture_of_at_most_the_area_that_the_job_says(size, side, result) -> None:
    from engine.tools.captioners.qwen_vl import shrunk

    assert shrunk(Image.new("RGB", size), side).size == result


def test_what_blip_is_given_is_what_its_caption_begins_with(photos, tmp_path) -> None:
    said = describe(MODELS["blip"][1](lookers.blip(tmp_path / "model"), caption_prompt="a b"), photos, 2)
    assert all(text.startswith("a b") for text in said)


def test_tags_are_the_sure_ones_in_words_and_no_ratings(photos, tmp_path) -> None:
    folder = lookers.tagger(tmp_path / "model")
    assert set(describe(Tagger(type="tagger", model_name_or_path=str(folder)), photos, 3)) == {"^_^, outdoors, blue hair"}
    strict = Tagger(type="tagger", model_name_or_path=str(folder), threshold=0.8, exclude_tags=["outdoors"])
    assert set(describe(strict, photos, 1)) == {"^_^"}


def test_a_wd_tagger_is_read_without_its_code_and_sees_blue_first_in_a_white_square(photos, tmp_path) -> None:
    folder = lookers.tagger(tmp_path / "model", wd=True)
    assert describe(Tagger(type="tagger", model_name_or_path=str(folder)), photos, 2)[0] == "^_^, outdoors, blue hair"

    class Model:
        config = type("config", (), {"image_size": 8})

    pixels = tagging._wd_pixels(folder, Model)([Image.new("RGB", (16, 8), (255, 0, 127))])
    assert pixels.shape == (1, 3, 8, 8) and pixels[0, :, 0].eq(1).all()  # white above
    assert np.allclose(pixels[0, :, 4, 4], [0, -1, 1], atol=0.02)


def test_a_job_with_a_model_runs_to_its_end_and_a_broken_picture_stops_nobody(photos, tmp_path) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    captioner = {"type": "tagger", "model_name_or_path": str(lookers.tagger(tmp_path / "model")), "batch_size": 4}
    events = done(run(tmp_path / "out", kind="caption", path=str(photos), captioner=captioner, in_place=True))
    assert len(captions(events)) == 2 and "broken.png cannot be read" in warnings(events)


def test_the_folder_with_models_is_looked_into(photos, tmp_path) -> None:
    lookers.tagger(tmp_path / "models" / "my-tagger")
    save_settings(Settings(models=tmp_path / "models"))
    assert describe(Tagger(type="tagger", model_name_or_path="someone/my-tagger"), photos, 3)


def test_a_model_that_is_not_here_is_one_sentence_with_what_to_do(photos, tmp_path) -> None:
    told = failure(run(tmp_path / "out", kind="caption", path=str(photos), captioner={"type": "florence2"}, in_place=True))
    assert (
        told.startswith("florence-community/Florence-2-large is not on this computer, and the hub cannot be reached.")
        and "captioner template" in told
    )
    assert "Starter" not in told


@pytest.mark.parametrize(
    ("config", "files", "sentence"),
    [
        ({"architecture": "vit_base_patch16_224"}, ["model.safetensors"], "model of timm"),
        ({"model_type": "florence2", "auto_map": {"AutoModel": "own.Model"}}, ["model.safetensors"], "never run"),
        ({"model_type": "swinv2"}, ["pytorch_model.bin"], "no .safetensors file"),
        ({"model_type": "swinv2"}, ["model.onnx"], "no .safetensors file"),
    ],
)
def test_models_that_cannot_be_read_are_told_as_what_they_are(config, files, sentence, tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in files:
        (tmp_path / name).write_bytes(b"\0" * 64)
    with pytest.raises(JobError) as caught:
        load_captioner(Tagger(type="tagger", model_name_or_path=str(tmp_path)))
    assert sentence in str(caught.value)


def test_another_model_than_qwens_is_told(tmp_path) -> None:
    with pytest.raises(JobError, match="of type swinv2"):
        load_captioner(QwenVl(type="qwen_vl", model_name_or_path=str(lookers.tagger(tmp_path / "model"))))


def test_every_offered_captioner_has_a_function_and_a_class_of_transformers() -> None:
    import transformers

    assert {info.type for info in CAPTIONERS} == set(FUNCTIONS)
    for info in CAPTIONERS:
        assert bool(info.model_name_or_path) == bool(info.class_name) == bool(info.licence) == (info.size_gb > 0)
        assert not info.class_name or hasattr(transformers, info.class_name)


def test_the_check_before_a_run_finds_what_the_run_would(photos) -> None:
    def problems(**keys) -> list[str]:
        job = load_job({"name": "x", "path": str(photos), **keys})
        return [finding.message for finding in check_job(job) if not finding.ok]

    assert problems(kind="caption", captioner=NAMES, in_place=True) == problems(kind="caption", captioner=NAMES, preview=1) == []
    assert "in_place" in problems(kind="caption", captioner=NAMES)[0]
    assert "not apart" in problems(kind="resize", to=str(photos / "in"))[0]
    assert "no folder" in problems(kind="split", path=str(photos / "gone"), to=str(photos.parent / "x"))[0]


def test_the_table_of_captioners_loads_no_torch() -> None:
    code = "import sys, engine.tools.captioners, engine.tools.targets, engine.jobs.tools; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
