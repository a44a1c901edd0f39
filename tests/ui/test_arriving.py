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


def test_fields_of_the_form_are_sent_only_when_the_job_has_changed(page: datasets.Datasets, studio: Studio) -> None:
    desk = Desk(studio)
    with gr.Blocks():
        form = train.build(desk)
    draft = desk.kept()
    fields = set(form.open("Simple"))
    again = form.open("Simple", draft)
    assert form.flight in again and set(again) < fields
    assert not any("value" in update for widget, update in again.items() if isinstance(widget, gr.Textbox))
    assert set(form.open("Simple", {"name": "wolf"})) == fields


def test_the_field_for_reference_pictures_is_shown_for_an_edit_model_alone(page: datasets.Datasets, studio: Studio) -> None:
    desk = Desk(studio)
    with gr.Blocks():
        form = train.build(desk)

    def is_shown() -> bool:
        updates = form.open("Simple")
        return next(update["visible"] for widget, update in updates.items() if getattr(widget, "label", "") == "Reference pictures" and "visible" in update)

    desk.keep(desk.kept())
    assert not is_shown()
    desk.with_base(desk.kept(), "black-forest-labs/FLUX.1-Kontext-dev")
    assert is_shown()
