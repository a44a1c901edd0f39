"""A page that is come back to: what is being typed there stays, what has changed elsewhere is shown."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest
from PIL import Image

from engine.queue import Runner
from ui.desk import Desk
from ui.studio import Studio
from ui.tabs import datasets, train


@pytest.fixture
def studio() -> Studio:
    return Studio(Runner())


@pytest.fixture
def page(studio: Studio) -> datasets.Datasets:
    folder = studio.library.root / "foxes"
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        Image.new("RGB", (64, 64), "red").save(folder / f"{name}.png")
    (folder / "two.txt").write_text("a fox")
    with gr.Blocks():
        return datasets.build(studio)


def test_a_caption_that_is_being_typed_is_kept_and_saved(page: datasets.Datasets, studio: Studio) -> None:
    editing, caption, _ = page.typing
    updates = page.arrive("foxes/two.png", "a fox in ", "a fox")
    assert caption not in updates and updates[editing] == "foxes/two.png"
    assert (studio.library.root / "foxes" / "two.txt").read_text().strip() == "a fox in"


def test_a_caption_that_changed_elsewhere_is_shown(page: datasets.Datasets, studio: Studio) -> None:
    caption = page.typing[1]
    (studio.library.root / "foxes" / "two.txt").write_text("zfox, a fox")
    assert page.arrive("foxes/two.png", "a fox", "a fox")[caption]["value"] == "zfox, a fox"


def test_a_picture_that_is_gone_makes_room_for_another(page: datasets.Datasets, studio: Studio) -> None:
    editing, caption, _ = page.typing
    (studio.library.root / "foxes" / "two.png").unlink()
    updates = page.arrive("foxes/two.png", "a fox", "a fox")
    assert updates[editing] == "foxes/one.png" and updates[caption]["value"] == ""


def test_the_first_visit_opens_what_was_open_last(page: datasets.Datasets) -> None:
    editing = page.typing[0]
    assert page.arrive(None, None, None)[editing] == "foxes/one.png"


def test_a_folder_that_is_locked_leaves_the_page_as_it_is(page: datasets.Datasets, studio: Studio, monkeypatch) -> None:
    def locked(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", "foxes")

    told: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda text, **_: told.append(text))
    monkeypatch.setattr(studio.library, "pictures", locked)
    assert page.open() == {} and "Permission denied" in told[0]


def held(form: train.TrainForm) -> dict[Any, Any]:
    """What the page holds after it has been opened."""
    updates = form.open()
    found = {widget: updates.get(widget) for widget in form.visit}
    return {
        widget: update["value"] if isinstance(update, dict) and "__type__" in update and "value" in update else update
        for widget, update in found.items()
    }


def values(updates: dict[Any, Any]) -> dict[str, Any]:
    """Id of each text field that is sent a value → that."""
    return {widget.elem_id: update["value"] for widget, update in updates.items() if isinstance(widget, gr.Textbox) and "value" in update}


def test_fields_of_the_form_are_sent_only_when_the_job_has_changed(page: datasets.Datasets, studio: Studio) -> None:
    desk = Desk(studio)
    with gr.Blocks():
        form = train.build(desk)
    begun = held(form)
    again = form.open(begun)
    assert form.flight in again and values(again) == {}
    draft = desk.kept()
    desk.keep(draft | {"name": "wolf"})  # in another tab of the browser
    assert values(form.open(begun)) == {"run-name": "wolf"}
    assert set(form.open(begun)) == set(form.open())


def test_what_a_list_says_twice_and_what_it_does_not_change_is_not_sent(page: datasets.Datasets, studio: Studio) -> None:
    """Its answer may come when other fields have been typed in."""
    folder = studio.library.root / "wolves"
    folder.mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "one.png")
    desk = Desk(studio)
    with gr.Blocks() as window:
        form = train.build(desk)
    begun = held(form)
    pictures = next(widget for widget in form.outputs if getattr(widget, "elem_id", "") == "pictures")
    [bound] = [
        fn
        for fn in window.fns.values()
        if pictures in fn.inputs and set(fn.inputs) < form.visit | {pictures} and fn.targets[0][0] == pictures._id
    ]
    path = desk.kept()["datasets"][0]["path"]
    assert bound.fn(begun | {pictures: path}) == gr.skip()
    updates = bound.fn(begun | {pictures: str(folder)})
    assert values(updates) == {"run-name": "wolves", "trigger": "wolves", "prompts": "wolves"}


def test_the_field_for_reference_pictures_is_shown_for_an_edit_model_alone(page: datasets.Datasets, studio: Studio) -> None:
    desk = Desk(studio)
    with gr.Blocks():
        form = train.build(desk)

    def is_shown() -> bool:
        updates = form.open()
        return next(
            update["visible"]
            for widget, update in updates.items()
            if getattr(widget, "label", "") == "Reference pictures" and "visible" in update
        )

    desk.keep(desk.kept())
    assert not is_shown()
    desk.with_base(desk.kept(), "black-forest-labs/FLUX.1-Kontext-dev")
    assert is_shown()
