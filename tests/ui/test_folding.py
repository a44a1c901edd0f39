"""The sections of the long form: which are open, what their heads say, and what the search finds."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest
from PIL import Image

from engine.jobs import TrainJob
from engine.queue import Runner
from ui import folding, form
from ui.desk import Desk
from ui.form import Draft, Form
from ui.studio import Studio
from ui.tabs import train

USUAL: Draft = {
    "name": "run",
    "model": {"name_or_path": "m"},
    "network": {"rank": 8},
    "datasets": [{"path": "p"}],
    "train": {"steps": 220, "lr": 0.001},
}


@pytest.fixture(scope="module")
def pro() -> Form:
    with gr.Blocks():
        return form.build(TrainJob, {"train": "Learning", "train.ema_config": "Average"})


def titles(pro: Form, boxes: Any) -> set[str]:
    return {section.title for section in pro.sections if section.box in boxes}


def special(pro: Form, draft: Draft, problems: dict[str, str] | None = None) -> set[str]:
    return titles(pro, folding.special(pro, draft, USUAL, problems or {}))


def test_what_is_as_proposed_is_closed(pro: Form) -> None:
    assert not any(section.box.open for section in pro.sections)
    assert special(pro, USUAL) == set()


def test_a_section_opens_where_something_is_other_than_proposed(pro: Form) -> None:
    assert special(pro, USUAL | {"train": {"steps": 220, "lr": 0.001, "batch_size": 4}}) == {"Learning"}
    assert special(pro, USUAL | {"train": {"steps": 220}}) == {"Learning"}, "the default again, where something else is proposed"
    averaged = USUAL | {"train": USUAL["train"] | {"ema_config": {"use_ema": True}}}
    assert special(pro, averaged) == {"Learning", "Average"}, "and what it lies in"
    assert special(pro, USUAL | {"decorator": {}}) == {"Decorator"}
    updates = folding.shown(pro, averaged, USUAL, {})
    assert titles(pro, [box for box, update in updates.items() if update.get("open")]) == {"Learning", "Average"}
    assert not any(update.get("open") is False for update in updates.values()), "what somebody has opened stays open"


def test_a_section_opens_where_something_is_wrong(pro: Form) -> None:
    draft = USUAL | {"slider": {"positive_prompt": "x"}}
    assert special(pro, USUAL, {"sample.width": "sample.width must be at least 16; it is 1."}) == {"Sample"}
    assert "Slider" in special(pro, draft, form.check(TrainJob, draft)[1])


def test_the_head_says_how_many_settings_are_not_the_default(pro: Form) -> None:
    heads = set(folding.heads(pro, USUAL).values())
    assert {"Learning · 2 set", "Network · 1 set", "Datasets · 1 set", "Average", "Validation"} <= heads


def found(pro: Form, text: str) -> set[str]:
    updates, _ = folding.search(pro, text, USUAL, USUAL)
    return {item.path for item in pro.fields if updates[item.widget]["visible"]}


def test_the_search_leaves_what_has_all_the_words(pro: Form) -> None:
    assert found(pro, "") == {item.path for item in pro.fields}
    assert "train.lr" in found(pro, "learning rate") and "train.lr" in found(pro, "LR") and "train.lr" in found(pro, "harsh colours")
    assert "train.seed" not in found(pro, "learning rate")
    assert found(pro, "nothing is called so") == set()


def test_the_search_opens_what_it_finds_something_in_and_closes_it_again(pro: Form) -> None:
    updates, number = folding.search(pro, "faces with a parting", USUAL, USUAL)
    shown = [section.title for section in pro.sections if updates[section.box]["visible"]]
    opened = [section.title for section in pro.sections if updates[section.box]["open"]]
    assert shown == opened == ["Datasets"] and number == 1
    over, _ = folding.search(pro, "", USUAL, USUAL)
    assert all(over[section.box] == gr.update(visible=True, open=False) for section in pro.sections)
    over, _ = folding.search(pro, "", USUAL | {"decorator": {}}, USUAL)
    assert titles(pro, [box for box, update in over.items() if update.get("open")]) == {"Decorator"}


def test_of_what_is_not_chosen_the_search_shows_the_choice(pro: Form) -> None:
    assert {"network.lokr_factor", "network.type"} <= found(pro, "lokr_factor")
    assert "network.type" not in found(pro, "network rank_pattern"), "a LoRA is chosen: its fields stand there by themselves"


def test_on_the_page_the_search_changes_nothing_but_what_it_is_bound_to() -> None:
    studio = Studio(Runner())
    folder = studio.library.root / "foxes"
    folder.mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(folder / "one.png")
    desk = Desk(studio)
    with gr.Blocks() as page:
        train.build(desk)
    [bound] = [fn for fn in page.fns.values() if fn.inputs and getattr(fn.inputs[0], "elem_id", "") == "search"]
    for text, words in (("learning", ""), ("", ""), ("nothing is called so", "No setting")):
        updates = bound.fn(text, desk.kept())
        assert set(updates) <= set(bound.outputs)
        assert any(isinstance(value, str) and words in value for value in updates.values())


def test_what_simple_asks_for_opens_nothing_in_pro() -> None:
    studio = Studio(Runner())
    folder = studio.library.root / "foxes"
    folder.mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(folder / "one.png")
    desk = Desk(studio)
    with gr.Blocks():
        page = train.build(desk)
    level = next(widget for widget in page.visit if getattr(widget, "elem_id", "") == "level")
    on_pro = dict.fromkeys(page.visit) | {level: "Pro"}

    def opened(**answers: Any) -> set[str]:
        draft = desk.kept()
        for path, value in answers.items():
            form.put(draft, path.replace("__", "."), value)
        desk.keep(draft)
        return {widget.label for widget, update in page.open(on_pro).items() if isinstance(widget, gr.Accordion) and update.get("open")}

    assert opened() == set()
    assert opened(train__steps=77, network__rank=3, sample__prompts=["a fox"], trigger_word="zfox") == set()
    assert opened(train__batch_size=3) == {"Learning"}
