from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from engine.jobs import TrainJob, load_job
from engine.settings import ROOT
from ui import drafts, form
from ui.form import Draft, Form

MINIMAL: Draft = {"name": "run", "model": {"name_or_path": "m"}, "datasets": [{"path": "p"}]}


@pytest.fixture(scope="module")
def pro() -> Form:
    with gr.Blocks():
        return form.build(TrainJob, {"train": "Training"})


def keys(schema: dict[str, Any], part: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every setting in a JSON schema, by its path; of lists that may not be empty, those of the first entry."""
    for name, info in part["properties"].items():
        options = [
            schema["$defs"][one["$ref"].rsplit("/", 1)[1]]
            for one in [info, *info.get("oneOf", []), *info.get("anyOf", [])]
            if "$ref" in one
        ]
        if "const" in info:  # kind and version, and the tag inside a choice
            continue
        for one in [info, *info.get("anyOf", [])]:
            if "oneOf" in one:
                yield f"{prefix}{name}.{one['discriminator']['propertyName']}"
                options = [schema["$defs"][inner["$ref"].rsplit("/", 1)[1]] for inner in one["oneOf"]]
        if len(options) == 1 and {"type": "null"} in info.get("anyOf", []):
            yield f"{prefix}{name}"  # it is there or not
        if info.get("type") == "array" and info.get("minItems") and "$ref" in info["items"]:
            yield from keys(schema, schema["$defs"][info["items"]["$ref"].rsplit("/", 1)[1]], f"{prefix}{name}.0.")
        elif options and all("properties" in option for option in options):
            for option in options:
                yield from keys(schema, option, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def typed(shown: Form, draft: Draft, **changes: Any) -> dict[Any, Any]:
    """What the widgets hold when the draft is shown and some fields are then typed over."""
    updates = shown.show(draft, {})
    values = {item.widget: updates[item.widget]["value"] for item in shown.fields}
    return values | {widget(shown, path.replace("__", ".")): value for path, value in changes.items()}


def widget(shown: Form, path: str) -> Any:
    return next(item.widget for item in shown.fields if item.path == path)


def test_every_key_of_the_schema_has_one_field(pro):
    schema = TrainJob.model_json_schema(by_alias=False)
    wanted = set(keys(schema, schema))
    assert {"train.lr", "network.rank", "network.type", "datasets.0.path", "name", "sample.samples"} <= wanted
    fields = [(item.path, item.conditions) for item in pro.fields]
    assert {path for path, _ in fields} == wanted and len(set(fields)) == len(fields)


def test_every_field_says_what_it_is_and_can_be_typed_into(pro):
    for item in pro.fields:
        assert item.widget.label and item.widget.interactive, item.path
    lr = next(item for item in pro.fields if item.path == "train.lr")
    assert lr.widget.label == "Learning rate" and "size of a step" in lr.widget.info.lower()
    assert lr.widget.value == "0.0001"


@pytest.mark.parametrize("preset", sorted(path.name for path in (ROOT / "presets" / "train").glob("*.yaml")))
def test_a_preset_that_is_shown_and_read_back_is_the_same(pro, preset):
    draft = drafts.short(load_job(ROOT / "presets" / "train" / preset))
    assert pro.read(typed(pro, draft), {}) == without_empty_texts(draft)
    assert pro.read(typed(pro, draft), draft) == draft


def without_empty_texts(value: Any) -> Any:
    """A field shows an empty text and none alike."""
    if isinstance(value, dict):
        return {key: without_empty_texts(one) for key, one in value.items() if one != ""}
    return [without_empty_texts(one) for one in value] if isinstance(value, list) else value


def test_a_draft_with_every_kind_of_value_comes_back_as_it_was(pro):
    draft: Draft = {
        **MINIMAL,
        "trigger_word": "zwx ü",
        "network": {"type": "lora", "rank": 4, "alpha": 0.5, "only_if_contains": ["a.b", "c"]},
        "datasets": [{"path": "p", "resolution": [512, 768], "flip_x": True, "default_caption": "a, b: c"}],
        "train": {
            "lr": 0.000123456789,
            "optimizer": "adamw",
            "optimizer_params": {"betas": [0.9, 0.99], "weight_decay": 0.0001},
            "ema_config": {"use_ema": True, "ema_decay": 0.9999999},
            "seed": 0,
        },
        "sample": {"sample_every": None, "walk_seed": False, "prompts": ["one", "two, three"], "samples": [{"prompt": "x", "width": 64}]},
        "save": {"save_every": None},
    }
    assert form.check(TrainJob, draft)[1] == {}
    assert pro.read(typed(pro, draft), {}) == draft


def test_what_equals_the_default_is_left_out(pro):
    draft = {**MINIMAL, "train": {"lr": 1e-4, "steps": 5}, "save": {"dtype": "bf16"}}
    assert pro.read(typed(pro, draft), draft) == {**MINIMAL, "train": {"steps": 5}}


def test_what_has_no_field_stays(pro):
    draft = {**MINIMAL, "datasets": [{"path": "p"}, {"path": "second"}], "unknown": 1}
    read = pro.read(typed(pro, draft, datasets__0__path="other"), draft)
    assert read["datasets"] == [{"path": "other"}, {"path": "second"}] and read["unknown"] == 1
    assert draft["datasets"][0] == {"path": "p"}, "the draft that was given is left alone"


def test_another_network_forgets_the_settings_of_the_former_one(pro):
    draft = {**MINIMAL, "network": {"rank": 4}}
    assert pro.read(typed(pro, draft, network__type="full"), draft)["network"] == {"type": "full"}
    full = {**MINIMAL, "network": {"type": "full"}}
    visible = {value: pro.show(full, {})[group]["visible"] for value, group in pro.choices["network.type"]}
    assert [value for value, shown in visible.items() if shown] == ["full"] and visible.keys() >= {"lora", "lokr", "dora"}


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        ("train.lr", "5", "Must be at most 1; it is 5."),
        ("train.steps", "many", "Must be a whole number; it is 'many'."),
        ("train.steps", "1.5", "Must be a whole number"),
        ("network.rank", "0", "Must be at least 1; it is 0."),
        ("train.ema_config.ema_decay", "1", "Must be less than 1; it is 1."),
        ("datasets.0.resolution", "512, x", "a whole number"),
        ("sample.width", "1", "Must be at least 16; it is 1."),
        ("name", "../x", "May have letters"),
        ("train.optimizer_params", "lr: [", "a section of keys"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_at_its_own_field_and_at_no_other(pro, path, text, sentence):
    draft = pro.read(typed(pro, MINIMAL, **{path.replace(".", "__"): text}), MINIMAL)
    job, problems = form.check(TrainJob, draft)
    assert job is None
    updates = pro.show(draft, problems)
    wrong = {item.path: updates[item.widget]["info"] for item in pro.fields if updates[item.widget]["elem_classes"]}
    assert list(wrong) == [path]
    assert sentence in wrong[path]
    assert updates[widget(pro, path)]["value"] == text, "what was typed is not taken away"


def test_a_problem_goes_away_when_it_is_mended_and_only_that_field_is_sent(pro):
    wrong = {**MINIMAL, "train": {"lr": 5}}
    problems = form.check(TrainJob, wrong)[1]
    assert list(pro.mark(problems, {}, wrong)) == [widget(pro, "train.lr")]
    mended = pro.mark({}, problems, MINIMAL)
    assert list(mended) == [widget(pro, "train.lr")]
    assert mended[widget(pro, "train.lr")]["elem_classes"] == [] and "value" not in mended[widget(pro, "train.lr")]


def test_a_missing_answer_is_told_at_its_field(pro):
    problems = form.check(TrainJob, {"datasets": [{}]})[1]
    owners = {path: pro.owner(path, {}) for path in problems}
    assert owners["name"].path == "name" and owners["datasets.0.path"].path == "datasets.0.path"


def test_a_sentence_cannot_bring_markdown_into_the_page():
    """That Gradio escapes HTML there is seen in the browser test."""
    problems = form.check(TrainJob, {**MINIMAL, "train": {"lr": "**b** [l](http://u) `c` _i_"}})[1]
    text = form.plain(problems["train.lr"], "train.lr")
    assert text.replace("\u2060", "").endswith("it is '**b** [l](http://u) `c` _i_'.")
    assert not re.search(r"\*\*|\]\(|`c`|_i_", text)


def test_a_simple_form_has_the_chosen_fields_in_its_own_words():
    with gr.Blocks():
        simple = form.pick(TrainJob, {"name": {}, "datasets.0.num_repeats": {"label": "Repeats"}, "network.rank": {}})
    assert [item.path for item in simple.fields] == ["name", "datasets.0.num_repeats", "network.rank"]
    assert simple.fields[1].widget.label == "Repeats"
    draft = {**MINIMAL, "network": {"rank": 8}, "train": {"steps": 3}}
    assert simple.read(typed(simple, draft, network__rank="9"), draft) == draft | {"network": {"rank": 9}}


def test_a_section_that_may_be_left_out_is_there_when_it_is_wanted(pro):
    assert pro.read(typed(pro, MINIMAL), MINIMAL) == MINIMAL
    wanted = pro.read(typed(pro, MINIMAL, embedding=True), MINIMAL)
    assert wanted == {**MINIMAL, "embedding": {}} and form.check(TrainJob, wanted)[1] == {}
    set_ = {**MINIMAL, "network": {"type": "lora"}, "embedding": {"tokens": 7}}
    assert pro.read(typed(pro, set_), set_) == set_
    assert pro.read(typed(pro, set_, embedding=False), set_) == {**MINIMAL, "network": {"type": "lora"}}
    assert [update["visible"] for update in (pro.show(draft, {})[pro.choices["embedding"][0][1]] for draft in (MINIMAL, set_))] == [
        False,
        True,
    ]


def test_one_of_several_sections_may_be_chosen_or_none(pro):
    draft = pro.read(typed(pro, MINIMAL, adapter__type="t2i"), MINIMAL)
    assert draft == {**MINIMAL, "adapter": {"type": "t2i"}} and form.check(TrainJob, draft)[1] == {}
    assert pro.read(typed(pro, draft, adapter__type=None), draft) == MINIMAL
    asked = pro.read(typed(pro, draft, adapter__type="redux"), draft)
    assert form.check(TrainJob, asked)[1].keys() == {"adapter.image_encoder_path"}
    owner = pro.owner("adapter.image_encoder_path", asked)
    assert owner is not None and ("adapter.type", "redux") in owner.conditions


def test_what_follows_from_another_answer_is_shown_and_not_written(pro):
    """Without a network, an embedding is trained alone."""
    values = typed(pro, MINIMAL, embedding=True)
    draft = pro.read(values, MINIMAL)
    assert "network" not in draft
    moved = pro.follow(values, draft)
    assert moved[widget(pro, "network.type")]["value"] == "none" and widget(pro, "embedding") not in moved
    both = pro.read(values | {widget(pro, "network.type"): "lora"}, draft)
    assert both["network"] == {"type": "lora"} and pro.follow(values, both) == {}
    assert form.check(TrainJob, both)[0].network.type == "lora"


def test_numbers_of_a_section_that_is_left_out_whole_are_those_that_hold_then(pro):
    draft = {**MINIMAL, "adapter": {"type": "control_lora"}}
    shown = next(pro.show(draft, {})[item.widget]["value"] for item in pro.fields if item.path == "adapter.lora_config.rank")
    assert shown == str(form.check(TrainJob, draft)[0].adapter.lora_config.rank)
    read = pro.read(typed(pro, draft), draft)
    assert form.check(TrainJob, read)[0] == form.check(TrainJob, draft)[0]


def test_a_line_break_inside_a_prompt_is_kept(pro):
    draft = {**MINIMAL, "sample": {"prompts": ["first line\nsecond line", "another"]}}
    assert typed(pro, draft)[widget(pro, "sample.prompts")] == "first line↵second line\nanother"
    assert pro.read(typed(pro, draft), {}) == draft


def test_marks_in_a_help_sentence_are_shown_as_they_are_written(pro):
    exclude = next(item for item in pro.fields if item.path.endswith("exclude"))
    assert "*" in exclude.help, "this test wants a sentence with marks"
    for shown in (exclude.widget.info, pro.show(MINIMAL, {})[exclude.widget]["info"]):
        assert "*\u2060" in shown and shown.replace("\u2060", "") == exclude.help
