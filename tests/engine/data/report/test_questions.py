from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import draw
from PIL import Image, ImageEnhance, ImageFilter

from engine.data.report import Finding, report
from engine.data.report.lengths import Ruler, guess, ruler_of
from engine.data.report.likeness import near_pairs
from engine.jobs import Dataset, ModelSection

sys.path.insert(0, str(Path(__file__).parent))
from conftest import photo  # noqa: E402

STARTER = ModelSection(name_or_path="assets/starter")


def about(folder: Path, trigger: str | None = None, model: ModelSection | None = None, **keys) -> dict[str, Finding]:
    return {one.kind: one for one in report(Dataset(path=str(folder), **keys), trigger, model).findings}


def names(finding: Finding) -> list[str]:
    return [path.name for path in finding.files]


def test_a_picture_that_was_saved_again_smaller_and_brighter_is_nearly_the_same(tmp_path):
    original = photo(tmp_path / "a.png", (640, 480))
    with Image.open(original) as image:
        ImageEnhance.Brightness(image.resize((500, 375))).enhance(1.15).save(tmp_path / "b.jpg", quality=70)
    photo(tmp_path / "c.png", (640, 480), seed=1)
    shutil.copy(original, tmp_path / "d.png")
    found = about(tmp_path, default_caption="")
    assert names(found["near"]) == ["b.jpg"] and found["near"].fix == "take_out"
    assert names(found["duplicate"]) == ["d.png"] and "d.png is a.png again" in found["duplicate"].message


def test_pictures_of_one_colour_are_not_taken_for_one_another(tmp_path):
    for name in ("red", "blue", "lime"):
        draw(tmp_path / f"{name}.png", (200, 200), name, caption=name)
    found = about(tmp_path)
    assert "near" not in found and "blurry" not in found and found["duplicate"].level == "ok"


@pytest.mark.parametrize("distance", [3, 6])
def test_near_hashes_are_those_that_comparing_each_with_each_finds(distance):
    chance = random.Random(1)
    hashes = [chance.getrandbits(64) for _ in range(60)]
    for index in range(0, 60, 3):  # others at every distance around the limit
        hashes.append(hashes[index] ^ sum(1 << bit for bit in chance.sample(range(64), index % 10)))
    wanted = [(i, j) for i in range(len(hashes)) for j in range(i + 1, len(hashes)) if (hashes[i] ^ hashes[j]).bit_count() <= distance]
    assert wanted and near_pairs(np.array(hashes, dtype=np.uint64), distance) == wanted


def test_a_picture_that_is_out_of_focus_is_blurry_and_one_with_a_soft_background_is_not(tmp_path):
    with Image.open(photo(tmp_path / "sharp.png", (800, 600))) as image:
        soft = image.filter(ImageFilter.GaussianBlur(6))
        soft.save(tmp_path / "soft.png")
        portrait = soft.copy()
        portrait.paste(image.crop((300, 200, 360, 260)), (300, 200))
        portrait.save(tmp_path / "portrait.png")
    assert names(about(tmp_path, default_caption="")["blurry"]) == ["soft.png"]


def test_a_picture_whose_ends_would_be_lost_is_told(tmp_path):
    draw(tmp_path / "just.png", (400, 100), caption="a")
    draw(tmp_path / "long.png", (401, 100), caption="b")
    assert names(about(tmp_path)["aspect"]) == ["long.png"]


def test_transparency_is_told_where_only_some_pictures_have_it(tmp_path):
    draw(tmp_path / "clear.png", (64, 64), (255, 0, 0, 10), "RGBA", caption="a")
    draw(tmp_path / "opaque.png", (64, 64), (255, 0, 0, 255), "RGBA", caption="b")
    assert names(about(tmp_path)["alpha"]) == ["clear.png"]
    (tmp_path / "opaque.png").unlink()
    assert "alpha" not in about(tmp_path)


def test_the_ending_that_lies_and_the_picture_that_moves_are_told(tmp_path):
    draw(tmp_path / "really.jpg", format="PNG", caption="a")
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    found = about(tmp_path, default_caption="")
    assert names(found["ending"]) == ["really.jpg"] and "really.jpg (a PNG)" in found["ending"].message
    assert names(found["moving"]) == ["moves.gif"] and found["moving"].fix == "convert"


def test_captions_without_the_trigger_words_are_told(tmp_path):
    for name, caption in (("a", "an [trigger] here"), ("b", "a photo of OHWX"), ("c", "a photo"), ("d", " ")):
        draw(tmp_path / f"{name}.png", caption=caption)
    found = about(tmp_path, "ohwx")
    assert names(found["trigger"]) == ["c.png"] and found["trigger"].fix == "add_trigger"
    assert names(found["caption"]) == ["d.png"] and "empty" in found["caption"].message
    assert "trigger" not in about(tmp_path)


def test_captions_in_other_places_count_as_captions(tmp_path):
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png").with_suffix(".json").write_text(json.dumps({"caption": "a blue thing"}))
    draw(tmp_path / "c.png", caption="c")
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "a red thing"}))
    made = report(Dataset(path=str(tmp_path)))
    assert {one.kind: one.level for one in made.findings}["caption"] == "ok"
    assert made.counts.captions == 3 and ("thing", 2) in made.counts.words


def test_a_missing_caption_is_no_problem_where_the_data_set_has_one_for_all(tmp_path):
    draw(tmp_path / "a.png")
    assert about(tmp_path)["caption"].level == "problem"
    assert about(tmp_path, default_caption="a thing")["caption"].level == "ok"


def test_a_caption_is_measured_in_the_tokens_of_the_base_model(tmp_path):
    ruler = ruler_of("assets/starter")
    assert not ruler.guessed and ruler.limit == 16
    from transformers import AutoTokenizer

    text = "a small red car, seen from the side, 3d " * 3
    whole = AutoTokenizer.from_pretrained("assets/starter", subfolder="tokenizer_2")
    assert ruler.beyond(text) == len(whole(text, truncation=False)["input_ids"])
    draw(tmp_path / "long.png", caption=text)
    draw(tmp_path / "short.png", caption="a car")
    found = about(tmp_path, None, STARTER)["long"]
    assert names(found) == ["long.png"] and "16 tokens that Starter" in found.message and "estimate" not in found.message


@pytest.mark.parametrize("base", ["sd15", "sd21", "sdxl"])
def test_stable_diffusion_reads_77_tokens_also_where_it_is_not_downloaded(base):
    assert ruler_of(base).limit == 77


def test_without_a_tokenizer_the_length_is_an_estimate_that_says_so(tmp_path):
    assert ruler_of("owner/not-here").guessed
    draw(tmp_path / "a.png", caption="word " * 600)
    assert "by an estimate" in about(tmp_path)["long"].message
    assert guess("word " * 100) == 130 and guess("日本語の文章" * 20) >= 120
    assert Ruler(limit=200).beyond("short") is None


def test_clips_two_files_are_read_as_transformers_reads_them(tmp_path):
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    words = {
        token: number
        for number, token in enumerate([*letters, *(f"{one}</w>" for one in letters), "ca", "car</w>", "<|startoftext|>", "<|endoftext|>"])
    }
    folder = tmp_path / "base" / "tokenizer"
    folder.mkdir(parents=True)
    (tmp_path / "base" / "model_index.json").write_text("{}")
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca r</w>\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}))
    ruler = ruler_of(str(tmp_path / "base"))
    assert ruler.limit == 77 and ruler.count is not None
    theirs = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    for text in ("a car", "The CAR's  100 é\ncars!!", "日本 🎞", ""):
        assert ruler.count(text) == len(theirs(text)["input_ids"]), text


def test_masks_and_reference_pictures_without_mates_are_told_both_ways(tmp_path):
    for name in ("a", "b"):
        draw(tmp_path / "set" / f"{name}.png", caption=name)
    draw(tmp_path / "masks" / "a.png", mode="L", colour=255)
    draw(tmp_path / "masks" / "old.png", mode="L", colour=255)
    draw(tmp_path / "controls" / "a.jpg")
    draw(tmp_path / "controls" / "b.jpg")
    keys = {"mask_path": str(tmp_path / "masks"), "control_path": [str(tmp_path / "controls")]}
    found = about(tmp_path / "set", **keys)
    assert found["mask"].level == "problem" and names(found["mask"]) == ["b.png"]
    assert found["control"].level == "ok"
    draw(tmp_path / "set" / "inside" / "a.png")
    assert report(Dataset(path=str(tmp_path / "set"), mask_path=str(tmp_path / "set" / "inside"), allow_missing=True)).counts.pictures == 2
    (tmp_path / "set" / "inside" / "a.png").unlink()
    found = about(tmp_path / "set", **keys, allow_missing=True)
    assert found["mask"].level == "look" and names(found["mask"]) == ["b.png", "old.png"]
    assert about(tmp_path / "set", mask_path=str(tmp_path / "nowhere"))["mask"].level == "problem"


def test_the_counts_add_up(tmp_path):
    draw(tmp_path / "a.png", (640, 640), caption="a red car and a red bus")
    draw(tmp_path / "b.png", (640, 641), caption="the bus")
    draw(tmp_path / "c.png", (1920, 1080), caption="[trigger]")
    (tmp_path / "d.png").touch()
    counts = report(Dataset(path=str(tmp_path), resolution=[64, 128], num_repeats=2, default_caption="")).counts
    assert (counts.pictures, counts.unusable, counts.captions) == (4, 1, 3)
    assert dict(counts.shapes) == {"1:1": 2, "16:9": 1} and dict(counts.sizes)["1920 × 1080"] == 1
    assert counts.words[:2] == [("red", 2), ("bus", 2)] and sum(number for _, number in counts.lengths) == 3
    assert dict(counts.buckets)["64 × 64"] == 4 and sum(number for _, number in counts.buckets) == 3 * 2 * 2


def test_the_model_says_which_size_is_too_small(tmp_path):
    draw(tmp_path / "a.png", (60, 60), caption="a")
    assert "64 × 64" in about(tmp_path, None, STARTER)["small"].message
    assert "small" not in about(tmp_path)
    assert "enlarged" in about(tmp_path, None, STARTER, upscale=True)["small"].message


def test_links_to_folders_are_not_followed_and_links_to_pictures_are(tmp_path):
    draw(tmp_path / "elsewhere" / "x.png")
    draw(tmp_path / "set" / "a.png", caption="a")
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    made = report(Dataset(path=str(tmp_path / "set"), default_caption=""))
    assert made.counts.pictures == 2
    assert {one.kind: one.message for one in made.findings}["linked"] == "1 picture is a link to files elsewhere, which are read."
    (tmp_path / "set" / "circle").symlink_to(tmp_path / "set")
    found = about(tmp_path / "set", default_caption="")["linked"]
    assert found.level == "look" and names(found) == ["circle"] and "not looked into" in found.message


def test_heads_alone_tell_sizes_and_captions_and_decode_nothing(tmp_path, monkeypatch):
    draw(tmp_path / "a.png", (64, 8))
    (tmp_path / "b.png").touch()
    monkeypatch.setattr(Image.Image, "load", None)
    found = {one.kind: one.level for one in report(Dataset(path=str(tmp_path)), decode=False).findings}
    assert found["tiny"] == found["caption"] == "problem" and found["unreadable"] == "look" and "duplicate" not in found


def test_a_report_is_plain_data_with_paths_from_its_folder(tmp_path):
    draw(tmp_path / "deep" / "a.png")
    data = json.loads(json.dumps(report(Dataset(path=str(tmp_path))).data()))
    assert data["counts"]["pictures"] == 1
    assert {
        "level": "problem",
        "kind": "caption",
        "message": "1 picture has no caption.",
        "fix": "write_captions",
        "files": ["deep/a.png"],
    } in data["findings"]
