from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pictures import draw

from engine.data.captions.sources import find_captions, read_listing
from engine.data.files.listing import find_pictures
from engine.data.scan import scan
from engine.data.sizes.buckets import place
from engine.errors import JobError
from engine.jobs import Dataset


def captions_of(folder: Path, **settings: Any) -> tuple[dict[str, str], str]:
    """Name of each picture → its caption, and all that is told, as one text."""
    paths = find_pictures(folder)
    captions, notes = find_captions(list(map(str, paths)), folder, Dataset(path=str(folder), **settings))
    told = " ".join(f"{note.message} {note.hint}".strip() for note in notes)
    return {path.relative_to(folder).as_posix(): caption.text for path, caption in zip(paths, captions, strict=True)}, told


def error_of(folder: Path, **settings: Any) -> str:
    with pytest.raises(JobError) as caught:
        captions_of(folder, **settings)
    return str(caught.value)


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


# Beside the picture


def test_a_json_beside_the_picture_says_its_caption_and_a_short_one(tmp_path):
    draw(tmp_path / "a.png")
    write(tmp_path / "a.json", {"caption": " a cat,  1,000 hairs\n", "caption_short": "cat", "score": 3})
    assert captions_of(tmp_path) == ({"a.png": " a cat,  1,000 hairs\n"}, "")
    assert captions_of(tmp_path, caption_ext="json")[0] == {"a.png": " a cat,  1,000 hairs\n"}
    assert captions_of(tmp_path, use_short_captions=True) == ({"a.png": "cat"}, "")
    [item] = scan(Dataset(path=str(tmp_path)))
    assert (item.caption, item.short) == (" a cat,  1,000 hairs\n", "cat")


def test_a_json_beside_a_text_counts_only_for_its_short_caption(tmp_path):
    draw(tmp_path / "a.png", caption="from text")
    draw(tmp_path / "b.png", caption="only text")
    write(tmp_path / "a.json", {"caption": "from text", "caption_short": "short"})
    assert captions_of(tmp_path) == ({"a.png": "from text", "b.png": "only text"}, "")
    found, told = captions_of(tmp_path, use_short_captions=True)
    assert found == {"a.png": "short", "b.png": "only text"}
    assert "1 picture has no short caption, and keeps the long one" in told and "b.png" in told


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["a cat"], "holds a list"),
        ("null", "holds nothing"),
        ('"a cat"', "holds a text"),
        ({"caption": 5}, "caption is a number, and must be text"),
        ('{"caption": "a\n', "is not JSON: line 1"),
        ("[" * 100_000, "is not JSON: line 1"),
    ],
)
def test_a_json_that_is_no_caption_is_an_error_that_names_it(tmp_path, value, words):
    draw(tmp_path / "a.png")
    write(tmp_path / "a.json", value)
    for settings in ({}, {"caption_ext": ".json"}, {"default_caption": "x"}):
        said = error_of(tmp_path, **settings)
        assert f"{tmp_path.name}/a.json" in said and words in said


@pytest.mark.parametrize("value", [["a workflow"], {"box": [1, 2, 3, 4]}, "{"])
def test_a_foreign_json_beside_a_text_is_left_alone(tmp_path, value):
    draw(tmp_path / "a.png", caption="text")
    write(tmp_path / "a.json", value)
    assert captions_of(tmp_path) == ({"a.png": "text"}, "")


@pytest.mark.parametrize(("value", "words"), [({"prompt": "a cat", "seed": 1}, "its keys are prompt, seed"), ({}, "its keys are none")])
def test_a_json_with_other_facts_is_no_caption(tmp_path, value, words):
    draw(tmp_path / "a.png")
    write(tmp_path / "a.json", value)
    assert f"{tmp_path.name}/a.json has no caption in it" in error_of(tmp_path) and words in error_of(tmp_path)
    assert words in error_of(tmp_path, caption_ext="json", default_caption="x")
    found, told = captions_of(tmp_path, default_caption="x")
    assert found == {"a.png": "x"} and words in told
    write(tmp_path / "metadata.jsonl", {"file_name": "a.png", "text": "from the table"})
    assert captions_of(tmp_path, default_caption="x") == ({"a.png": "from the table"}, "")


def test_a_table_without_captions_is_told_only_where_they_are_missing(tmp_path):
    draw(tmp_path / "a.png", caption="own")
    write(tmp_path / "metadata.csv", "file_name,bbox\na.png,1\n")
    assert captions_of(tmp_path) == ({"a.png": "own"}, "")
    (tmp_path / "a.txt").unlink()
    assert "its columns are file_name, bbox" in captions_of(tmp_path, default_caption="x")[1]
    assert "its columns are file_name, bbox" in error_of(tmp_path)


def test_half_a_character_in_json_does_not_reach_the_text_encoder(tmp_path):
    draw(tmp_path / "a.png")
    write(tmp_path / "a.json", r'{"caption": "a \ud800 cat"}')
    assert captions_of(tmp_path)[0] == {"a.png": "a ? cat"}


# Tables


def test_metadata_gives_captions_as_imagefolder_writes_them(tmp_path):
    for name in ("a.png", "train/b.png", "train/c d.png"):
        draw(tmp_path / name)
    write(
        tmp_path / "metadata.jsonl",
        '{"file_name": "a.png", "text": "a, 1,000\\u2028 dogs "}\n\n{"file_name": "train/b.png", "text": "up"}\n',
    )
    write(tmp_path / "train" / "metadata.csv", 'score,file_name,caption\r\n1,b.png,"a ""b"", quoted\nin two lines"\r\n2,c d.png,plain\r\n')
    found, told = captions_of(tmp_path)
    assert found == {"a.png": "a, 1,000\u2028 dogs ", "train/b.png": 'a "b", quoted\nin two lines', "train/c d.png": "plain"}
    assert (
        "1 picture has captions that differ, train/b.png for one in metadata.csv and metadata.jsonl: the one in metadata.csv counts."
        in told
    )


@pytest.mark.parametrize("prefix", ["", "\ufeff"])
def test_the_column_is_found_or_named(tmp_path, prefix):
    draw(tmp_path / "a.png")
    write(tmp_path / "metadata.csv", f"{prefix}file_name,prompt,caption,label\na.png,p,c,l\n")
    assert captions_of(tmp_path)[0] == {"a.png": "c"}
    assert captions_of(tmp_path, caption_column="label")[0] == {"a.png": "l"}
    assert "no column title; its columns are file_name, prompt, caption, label" in error_of(tmp_path, caption_column="title")
    write(tmp_path / "metadata.csv", f"{prefix}file_name,label\na.png,l\n")
    assert "no column text or caption or prompt; its columns are file_name, label" in error_of(tmp_path)
    write(tmp_path / "metadata.csv", f"{prefix}image,text\na.png,l\n")
    assert "no column file_name; its columns are image, text" in error_of(tmp_path)


def test_the_order_in_which_places_count(tmp_path):
    """The golden order: text beside, json beside, jsonl, csv, the default."""
    places = [
        ("a.txt", "text"), ("a.json", {"caption": "json"}), ("metadata.jsonl", {"file_name": "a.png", "text": "jsonl"}),
        ("metadata.csv", "file_name,text\na.png,csv\n"),
    ]  # fmt: skip
    draw(tmp_path / "a.png")
    for name, value in places:
        write(tmp_path / name, value)
    for position, (name, _) in enumerate(places):
        found, told = captions_of(tmp_path, default_caption="default")
        assert found == {"a.png": ["text", "json", "jsonl", "csv"][position]}
        assert ("1 picture has captions that differ" in told) == (position < 3)
        assert position == 3 or f"the one in {name} counts" in told
        (tmp_path / name).unlink()
    assert captions_of(tmp_path, default_caption="default") == ({"a.png": "default"}, "")


def test_captions_that_agree_are_no_conflict(tmp_path):
    draw(tmp_path / "a.png", caption="same\n")
    write(tmp_path / "metadata.jsonl", {"file_name": "a.png", "text": " same"})
    assert captions_of(tmp_path) == ({"a.png": "same"}, "")


def test_rows_that_lead_nowhere_are_told_and_nothing_outside_is_read(tmp_path):
    inner = tmp_path / "set"
    draw(inner / "a.png")
    draw(inner / "sub" / "b.png", caption="b")
    draw(tmp_path / "x.png", caption="secret")
    rows = ["../x.png", "sub/../../x.png", str(tmp_path / "x.png"), "C:\\x.png", "..\\x.png", "gone.png", "a.png", "", "a.png\0"]
    write(inner / "metadata.jsonl", "\n".join(json.dumps({"file_name": row, "text": f"text {row}"}) for row in rows))
    write(inner / "sub" / "metadata.jsonl", {"file_name": "../a.png", "text": "from below"})
    found, told = captions_of(inner)
    assert found == {"a.png": "text a.png", "sub/b.png": "b"}
    assert "set/metadata.jsonl names 7 files outside of its folder, which are left out: ../x.png" in told
    assert "set/metadata.jsonl names 1 file that is not among the pictures: gone.png" in told
    assert "sub/metadata.jsonl names 1 file outside" in told


def test_of_two_rows_for_a_picture_the_first_counts(tmp_path):
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    write(tmp_path / "metadata.csv", "file_name,text\na.png,one\na.png,two\nb.png,same\nb.png,same\n./b.png,same\n")
    found, told = captions_of(tmp_path)
    assert found == {"a.png": "one", "b.png": "same"}
    assert "has different rows for 1 file, of which the first counts: a.png" in told


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("metadata.jsonl", '{"file_name": "a.png", "text": "a"}\n{"file_name"\n', "is not JSON: line 2"),
        ("metadata.jsonl", '["a.png", "a"]', "line 1: it is a list"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": ["a"]}', "line 1: text is a list, and must be text"),
        ("metadata.csv", "file_name,text\na.png,one, two\n", "line 2: it has more cells"),
        ("metadata.csv", 'file_name,text\na.png,"one\n', "beyond line 1: unexpected end of data"),
    ],
)
def test_a_table_that_is_broken_is_an_error_only_where_it_is_needed(tmp_path, name, text, words):
    draw(tmp_path / "a.png")
    write(tmp_path / name, text)
    assert f"{tmp_path.name}/{name}" in error_of(tmp_path) and words in error_of(tmp_path)
    write(tmp_path / "a.txt", "own")
    found, told = captions_of(tmp_path)
    assert found == {"a.png": "own"} and words in told


@pytest.mark.parametrize(("on_disk", "in_table"), [("cafe\u0301", "caf\u00e9"), ("caf\u00e9", "cafe\u0301")])
def test_names_are_found_however_accents_are_written(tmp_path, on_disk, in_table):
    draw(tmp_path / f"{on_disk} 🐈 'x\".png")  # a Mac takes them apart
    write(tmp_path / "metadata.jsonl", {"file_name": f"{in_table} 🐈 'x\".png", "text": "found"})
    assert list(captions_of(tmp_path)[0].values()) == ["found"]


# The map


def test_a_map_names_the_pictures_and_their_captions(tmp_path):
    a, b = draw(tmp_path / "one" / "a.png"), draw(tmp_path / "two" / "b.png", caption="beside")
    draw(tmp_path / "one" / "not listed.png")
    entries = {"one/a.png": {"caption": "a [trigger]", "caption_short": "s"}, str(b): "plain", "gone.png": "x", "map.json": "no picture"}
    file = write(tmp_path / "map.json", entries)
    notes: list[Any] = []
    items = scan(Dataset(path=str(file)), "zwx", notes=notes)
    assert [(item.path, item.caption, item.short) for item in items] == [(a, "a zwx", "s"), (b, "plain", None)]
    told = " ".join(note.message for note in notes)
    assert "names 2 pictures that are not there: gone.png, map.json" in told
    assert "b.png for one in map.json and b.txt: the one in map.json counts" in told


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[1]", "is not a map"),
        ("{}", "is not a map"),
        ("{", "is not JSON"),
        ('{"a.png": 1}', "holds a number"),
        ('{"x.png": "a"}', "x.png"),
    ],
)
def test_a_file_that_is_no_map_is_an_error(tmp_path, value, words):
    draw(tmp_path / "a.png")
    with pytest.raises(JobError, match=words):
        read_listing(write(tmp_path / "map.json", value))


# kohya's folders


def kohya(folder: Path, *names: str) -> Path:
    for name in names:
        draw(folder / name / "a.png")
    return folder


def repeats(folder: Path, **settings: Any) -> dict[str, int]:
    return {item.path.relative_to(folder).as_posix(): item.repeats for item in scan(Dataset(path=str(folder), **settings))}


def test_kohyas_folders_repeat_and_name_their_pictures(tmp_path):
    kohya(tmp_path, "10_ohwx man", "2_my_dog")
    draw(tmp_path / "10_ohwx man" / "b.png", caption="own")
    found, told = captions_of(tmp_path)
    assert found == {"10_ohwx man/a.png": "ohwx man", "10_ohwx man/b.png": "own", "2_my_dog/a.png": "my_dog"}
    assert "10_ohwx man (10), 2_my_dog (2), and 2 pictures without a caption are called what the folder is" in told
    assert "Set kohya_folders to false" in told
    assert repeats(tmp_path) == {"10_ohwx man/a.png": 10, "10_ohwx man/b.png": 10, "2_my_dog/a.png": 2}
    assert "no caption" in error_of(tmp_path, kohya_folders=False)
    assert set(repeats(tmp_path, kohya_folders=False, default_caption="x").values()) == {1}
    assert captions_of(tmp_path, default_caption="x")[0]["2_my_dog/a.png"] == "x", "what the job says comes before the folder's name"


def test_the_repeats_of_a_folder_multiply_those_of_the_data_set(tmp_path):
    data = Dataset(path=str(kohya(tmp_path, "10_cat", "2_dog")), num_repeats=3)
    assert [placed.repeats for placed in place([data], scan(data), 32, 16)] == [30, 6]


@pytest.mark.parametrize(
    "names",
    [
        ("2023_holiday", "2024_summer"),  # years
        ("1_front", "2_side", "3_back"),  # sorted
        ("01_front", "05_side"),
        ("10_cats", "dogs"),
        ("10_cats", "."),  # pictures beside the folders
        ("10_cats/black", "20_dogs"),
        ("10_", "20_dogs"),
        ("0_cats",),
        ("1000_cats",),
    ],
)
def test_folders_of_a_person_who_knows_no_kohya_do_not_surprise(tmp_path, names):
    kohya(tmp_path, *names)
    assert set(repeats(tmp_path, default_caption="x").values()) == {1}
    assert captions_of(tmp_path, default_caption="x")[1] == ""


def test_the_folder_itself_counts_only_when_asked_for(tmp_path):
    folder = kohya(tmp_path / "10_cats", ".", "sub", "3_kittens")
    assert set(repeats(folder, default_caption="x").values()) == {1}
    assert repeats(folder, kohya_folders=True) == {"a.png": 10, "sub/a.png": 10, "3_kittens/a.png": 3}
    assert captions_of(folder, kohya_folders=True)[0] == {"a.png": "cats", "sub/a.png": "cats", "3_kittens/a.png": "kittens"}


def test_kohyas_folders_that_are_not_there_are_told(tmp_path):
    kohya(tmp_path, "cats")
    assert "kohya_folders has no effect" in captions_of(tmp_path, kohya_folders=True, default_caption="x")[1]
    kohya(tmp_path, "99999999_cats")
    assert "99,999,999 repeats; 10,000 are the most" in error_of(tmp_path, kohya_folders=True, default_caption="x")


# Bad input


def test_a_caption_of_100_kb_reads_and_an_empty_one_is_none(tmp_path):
    long = "word, " * 30_000 + "end"
    draw(tmp_path / "a.png", caption=long)
    draw(tmp_path / "b.png")
    write(tmp_path / "metadata.csv", f'file_name,text\nb.png,"{long}"\n')
    assert captions_of(tmp_path) == ({"a.png": long, "b.png": long}, "")
    draw(tmp_path / "c.png", caption="\n")
    assert "1 picture has no caption" in error_of(tmp_path) and "c.png" in error_of(tmp_path)


def test_a_folder_in_the_place_of_a_caption_is_named(tmp_path):
    draw(tmp_path / "a.png")
    (tmp_path / "a.txt").mkdir()
    (tmp_path / "metadata.csv").mkdir()
    assert f"{tmp_path.name}/a.txt is a folder, and a caption is a text file." in error_of(tmp_path)
    assert captions_of(tmp_path, default_caption="x") == ({"a.png": "x"}, "")


def test_captions_of_another_encoding_are_read_and_told(tmp_path):
    draw(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes("café".encode("latin-1"))
    found, told = captions_of(tmp_path)
    assert found == {"a.png": "café"}
    assert f"1 caption is not saved as UTF-8: {tmp_path.name}/a.txt" in told


def test_replacements_change_letters_in_order_and_before_the_trigger(tmp_path):
    draw(tmp_path / "a.png", caption="a dog, 1,000  dogs")
    draw(tmp_path / "b.png")
    settings = {"replacements": ["dog|[trigger]", "a |", "[trigger]s|cats", "bird|x"], "default_caption": "no dog"}
    notes: list[Any] = []
    items = scan(Dataset(path=str(tmp_path), **settings), "zwx", notes=notes)
    assert [item.caption for item in items] == ["zwx, 1,000  cats", "no zwx"]
    assert [note.message for note in notes] == ["replacements has no effect for 'bird|x': no caption says that."]


@pytest.mark.parametrize("wrong", ["dog", "a|b|c", "|x"])
def test_a_replacement_says_from_and_to(wrong):
    with pytest.raises(ValueError, match="does not say from|to"):
        Dataset(path="x", replacements=[wrong])
