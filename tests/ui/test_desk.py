from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from engine.errors import JobError
from engine.families.catalog import BASES, STARTER
from engine.jobs import load_job
from engine.queue import Runner
from engine.settings import ROOT
from ui import drafts, form
from ui.desk import Desk
from ui.studio import Studio


@pytest.fixture
def desk() -> Desk:
    return Desk(Studio(Runner()))


def data_set(desk: Desk, name: str, captions: list[str]) -> Path:
    folder = desk.studio.library.root / name
    folder.mkdir(parents=True)
    for number, caption in enumerate(captions):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(folder / f"{number:02d}.png")
        if caption:
            (folder / f"{number:02d}.txt").write_text(caption)
    return folder


def test_a_new_job_has_the_numbers_of_its_base_and_the_words_of_its_pictures(desk: Desk) -> None:
    data_set(desk, "red-fox", [f"[trigger] number {k}" for k in range(12)])
    draft = desk.fresh("red-fox")
    job, problems = drafts.settled(draft)
    assert problems == {} and job is not None
    assert (job.name, job.trigger_word, job.datasets[0].path) == ("red-fox", "red fox", "datasets/red-fox")
    assert job.model.name_or_path == STARTER.name_or_path
    assert job.train.steps == form.get(drafts.preset(STARTER), "train.steps", None) != 2000
    assert job.sample.prompts == [f"red fox number {k}" for k in (0, 3, 6, 9)]


def test_the_example_gets_the_prompts_that_were_written_for_it(desk: Desk) -> None:
    name = desk.studio.library.copy(ROOT / "assets" / "examples" / "car", "example-car")
    draft = desk.fresh(name)
    preset = drafts.preset(STARTER)
    assert form.get(draft, "sample.prompts", None) == form.get(preset, "sample.prompts", None)
    assert form.get(draft, "trigger_word", None) == form.get(preset, "trigger_word", None) == "zcar"
    assert drafts.settled(draft)[1] == {}


def test_a_name_that_is_taken_gets_a_number(desk: Desk) -> None:
    data_set(desk, "fox", ["a fox"])
    (desk.studio.runner.root / "fox").mkdir()
    assert desk.fresh("fox")["name"] == "fox-2"


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.id)
def test_another_base_brings_its_numbers_and_leaves_the_answers(desk: Desk, base) -> None:
    data_set(desk, "fox", ["a fox"])
    draft = desk.fresh("fox")
    form.put(draft, "trigger_word", "zfox")
    form.put(draft, "sample.prompts", ["one", "two"])
    changed = desk.with_base(draft, base.name_or_path)
    job, problems = drafts.settled(changed)
    assert problems == {} and job is not None
    assert job.model.name_or_path == base.name_or_path
    assert (job.name, job.trigger_word, job.sample.prompts) == ("fox", "zfox", ["one", "two"])
    assert job.train.steps == form.get(drafts.preset(base), "train.steps", 2000)
    assert job.train.lr == form.get(drafts.preset(base), "train.lr", 1e-4)
    assert job.model == load_job(ROOT / "presets" / "train" / base.preset).model


def test_other_pictures_take_their_proposals_along_but_not_what_was_written(desk: Desk) -> None:
    data_set(desk, "fox", ["a fox"])
    bear = data_set(desk, "bear", ["a bear"])
    draft = desk.fresh("fox")
    form.put(draft, "sample.prompts", ["my own"])
    changed = desk.with_pictures(draft, str(bear))
    assert (changed["name"], changed["trigger_word"]) == ("bear", "bear")
    assert form.get(changed, "sample.prompts", None) == ["my own"]
    assert form.get(changed, "datasets.0.path", None) == str(bear)


def test_what_was_typed_is_there_after_a_restart_unless_its_pictures_are_gone(desk: Desk) -> None:
    data_set(desk, "fox", ["a fox"])
    draft = desk.fresh("fox")
    form.put(draft, "train.lr", "not a number yet")
    desk.keep(draft)
    again = Desk(Studio(Runner()))
    assert form.get(again.kept(), "train.lr", None) == "not a number yet"
    again.studio.library.remove("fox")
    assert form.get(again.kept(), "train.lr", None) != "not a number yet"


def test_without_pictures_there_is_a_job_that_says_what_is_missing(desk: Desk) -> None:
    draft = desk.kept()
    job, problems = drafts.settled(draft)
    assert job is None and list(problems) == ["datasets.0.path"]
    assert "There are no pictures yet" in desk.card(draft, [])


def test_the_card_tells_what_is_wrong_with_the_pictures_before_the_start(desk: Desk) -> None:
    data_set(desk, "fox", ["a fox", "", "a fox again"])
    draft = desk.fresh("fox")
    assert "1 picture has no caption" in desk.card(draft, [])
    assert "do not say the trigger words" not in desk.card(draft, [])  # "fox" is in each
    form.put(draft, "trigger_word", "zfox")
    assert "The captions do not say the trigger words" in desk.card(draft, []) or "2 captions do not" in desk.card(draft, [])
    desk.with_trigger_in_captions(draft)
    assert "trigger words" not in desk.card(draft, [])
    pictures = desk.studio.library.pictures("fox")
    assert [desk.studio.library.caption(path) for path in pictures] == ["[trigger], a fox", "", "[trigger], a fox again"]


def test_a_job_whose_pictures_have_no_captions_is_not_put_into_the_line(desk: Desk) -> None:
    data_set(desk, "fox", ["a fox", ""])
    draft = desk.fresh("fox")
    with pytest.raises(JobError, match="1 picture has no caption"):
        desk.start(draft)
    form.put(draft, "datasets.0.default_caption", "a fox")
    assert desk.start(draft) == "fox"
    assert [record.status for record in desk.studio.runner.runs()] == ["queued"]
    assert desk.start(draft) == "fox"  # a double click starts it once
    assert len(desk.studio.runner.runs()) == 1


def test_lengths_follow_the_preset() -> None:
    steps = [count for _, count in drafts.lengths(STARTER)]
    assert steps[1] == form.get(drafts.preset(STARTER), "train.steps", None) and steps == sorted(steps)


def test_yaml_of_another_kind_or_of_no_kind_is_refused_with_a_sentence() -> None:
    for text, sentence in (
        ("kind: generate\nname: x", "of kind 'generate'"),
        ("- a", "not a job"),
        ("a: [", "not valid YAML"),
        ("", "not a job"),
    ):
        with pytest.raises(JobError, match=sentence):
            drafts.from_yaml(text)
    assert drafts.from_yaml("kind: train\nname: x\nwrong: 1") == ({"name": "x", "wrong": 1}, [])


def test_a_job_of_the_other_toolkit_is_taken_over() -> None:
    text = """job: extension
config:
  name: mine
  process:
    - type: sd_trainer
      trigger_word: zfox
      datasets: [{folder_path: /pictures}]
      model: {name_or_path: black-forest-labs/FLUX.1-dev, is_flux: true}
      train: {steps: 77, lr: 1e-4}
"""
    draft, _ = drafts.from_yaml(text)
    job, problems = drafts.settled(draft)
    assert problems == {} and job is not None and (job.name, job.train.steps, job.trigger_word) == ("mine", 77, "zfox")


def test_any_other_base_is_taken_by_its_name_and_keeps_the_numbers(desk: Desk) -> None:
    data_set(desk, "fox", ["a fox"])
    draft = desk.fresh("fox")
    steps = form.get(draft, "train.steps", None)
    changed = desk.with_base(draft, " someone/some-model ")
    assert form.get(changed, "model.name_or_path", None) == "someone/some-model"
    assert form.get(changed, "train.steps", None) == steps
    assert desk.with_base(changed, None) is changed
    assert form.get(desk.with_base(changed, "kontext"), "model.name_or_path", None) == "black-forest-labs/FLUX.1-Kontext-dev"
    with pytest.raises(JobError, match="'something' is no base model"):
        desk.with_base(changed, "something")
    assert ("someone/some-model\nOf your own choice", "someone/some-model") in desk.choices(changed).bases


def test_every_base_is_a_tile_or_in_the_list_and_the_chosen_one_is_a_tile(desk: Desk) -> None:
    data_set(desk, "fox", ["a fox"])
    for base in BASES:
        choices = desk.choices(desk.with_base(desk.fresh("fox"), base.name_or_path))
        assert base.name_or_path in {value for _, value in choices.bases}
        assert {value for _, value in [*choices.bases, *choices.others]} >= {one.name_or_path for one in BASES}


@pytest.mark.parametrize("base", [base for base in BASES if base.needs == "reference picture"], ids=lambda base: base.id)
def test_an_edit_model_asks_for_its_reference_pictures(desk: Desk, base) -> None:
    data_set(desk, "fox", ["a fox"])
    draft = desk.with_base(desk.fresh("fox"), base.name_or_path)
    assert desk.wants_references(draft) and "give the folder with the reference pictures" in desk.card(draft, [])
    with pytest.raises(JobError, match="give the folder with the reference pictures"):
        desk.start(draft)
    form.put(draft, "datasets.0.control_path", ["before"])
    assert "give the folder" not in desk.card(draft, [])
