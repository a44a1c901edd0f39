"""What is wrong is told before Train, or beside the field, or on the run: in one sentence that says what to do. Nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from window import ROOT, tab, until

pytestmark = pytest.mark.browser
CAR = ROOT / "assets" / "examples" / "car" / "taxi_3d.webp"


def write_yaml(page, text: str) -> None:
    page.click("#yaml .cm-content")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    page.wait_for_timeout(300)
    page.click("#flight")  # what is pasted is heard when the field is left


def test_with_no_pictures_the_train_page_leads_to_them(page) -> None:
    tab(page, "Train")
    page.wait_for_selector("#no-pictures:visible")
    assert not page.locator("#go").is_visible()
    page.click("#no-pictures [data-act=datasets]")
    page.wait_for_selector("#drop:visible")


def test_a_drop_of_nothing_usable_makes_no_data_set(page, app, tmp_path: Path) -> None:
    broken = tmp_path / "holiday.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 cut off")
    alone = tmp_path / "alone.txt"
    alone.write_text("a caption")
    page.set_input_files("#drop input[type=file]", [broken, alone])
    page.wait_for_selector("text=holiday.jpg cannot be read")
    page.wait_for_selector("text=alone.txt is a caption without a picture of the same name")
    assert page.locator("#drop").is_visible()
    assert [path for path in (app.home / "datasets").iterdir() if not path.name.startswith(".")] == []


def test_a_missing_caption_is_told_before_the_start_and_stops_it(page, app) -> None:
    page.set_input_files("#drop input[type=file]", [CAR])
    page.wait_for_selector("#problems:has-text('1 picture has no caption')")
    page.click("#to-train")
    page.wait_for_selector("#flight:has-text('1 picture has no caption')")
    page.click("#go")
    page.wait_for_selector(".toast-wrap:has-text('has no caption')")
    assert not (app.home / "output" / "my-pictures").exists()
    page.click("#flight [data-act=datasets]")
    page.wait_for_selector("#caption textarea")
    page.fill("#caption textarea", "a taxi, [trigger]")
    until(lambda: (app.home / "datasets" / "my-pictures" / "taxi_3d.txt").exists())


def test_a_wrong_key_is_told_with_the_nearest_right_one(page, app) -> None:
    tab(page, "Train")
    page.click("#level label:has-text('YAML')")
    page.wait_for_selector("#yaml:has-text('name_or_path')")
    write_yaml(page, "name: wrong\nmodel: {name_or_path: assets/starter}\ndatasets: [{path: x}]\ntrain: {stesp: 5}\n")
    page.wait_for_selector("#flight:has-text('Did you mean steps?')")
    page.click("#go")
    page.wait_for_timeout(1500)
    assert not (app.home / "output" / "wrong").exists()
    page.click("#level label:has-text('Simple')")  # what was typed is kept
    until(lambda: page.input_value("#run-name textarea") == "wrong")


def test_a_base_that_does_not_exist_is_told_on_the_run(page, app) -> None:
    tab(page, "Train")
    page.click("#level label:has-text('YAML')")
    page.wait_for_selector("#yaml:has-text('name_or_path')")
    data = app.home / "datasets" / "my-pictures"
    write_yaml(page, f"name: lost\nmodel: {{name_or_path: /no/such/model}}\ndatasets: [{{path: {data}}}]\ntrain: {{steps: 5}}\n")
    page.click("#go")
    page.wait_for_selector("#continue:has-text('Try again')")
    told = page.inner_text("#headline .health.look")
    assert "/no/such/model" in told and "Give a folder in diffusers layout" in told
    page.click("#open-runs")
    page.wait_for_selector("#runs:has-text('ended with an error')")
