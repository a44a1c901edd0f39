"""Captions, prompts and file names come from strangers: they are shown, and never carried out."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from window import settled, tab, until, write

from engine.events import Sampled
from engine.jobs import load_job
from engine.runs.folder import RunFolder

pytestmark = pytest.mark.browser
EVIL = "${alert(1)} <img src=x onerror=alert(2)> {{alert(3)}} [a](javascript:alert(4)) </textarea><script>alert(5)</script> \"' `"


@pytest.fixture
def hostile(app, tmp_path: Path) -> RunFolder:
    """A finished run and a data set whose every word is hostile."""
    pictures = app.home / "datasets" / "evil"
    pictures.mkdir(parents=True, exist_ok=True)
    name = "<img src=x onerror=alert(6)>${alert(7)}"
    Image.new("RGB", (64, 64), "red").save(pictures / f"{name}.png")
    (pictures / f"{name}.txt").write_text(EVIL)
    job = load_job({"name": "evil", "trigger_word": EVIL, "model": {"name_or_path": f"{EVIL}/x"}, "datasets": [{"path": str(pictures)}]})
    folder = RunFolder.create(app.home / "output", job, exist_ok=True)
    for step in (0, 250):
        path = folder.sample_path(step, 0, EVIL, "png")
        Image.new("RGB", (64, 64), "blue").save(path)
        folder.append(Sampled(step=step, index=0, prompt=EVIL, path=path.relative_to(folder.path), seed=1))
    return folder


def test_hostile_words_are_shown_as_they_are_written(hostile, app, context, witness) -> None:
    app.stop()
    app.start()  # a run that was not made here is found at the start
    page = context.new_page()
    witness.watch(page)
    page.goto(app.address)
    settled(page)
    tab(page, "Datasets")
    page.wait_for_selector("#thumbs img")
    assert page.input_value("#caption textarea") == EVIL
    assert "onerror=alert(6)" in page.inner_text("#big")

    page.click("#open-runs")
    page.wait_for_selector("#runs [data-act=open]")
    page.click("#runs [data-act=open]")
    page.wait_for_selector(".frames.strip img")
    assert EVIL in " ".join(page.inner_text(".frames.strip tbody th").split())
    page.click("#log button")
    page.wait_for_selector("#log .log:has-text('alert(1)')")
    assert "onerror=alert(2)" in page.inner_text("#run-title")

    page.click(".frames.strip img >> nth=1")
    page.wait_for_selector("#compare img")
    page.click("button[role=tab]:has-text('Contact sheet')")
    page.wait_for_selector(".frames.sheet img")

    tab(page, "Datasets")
    page.click("#to-train")
    page.wait_for_selector("#go")
    write(page, "#trigger", EVIL)
    write(page, "#run-name", EVIL)
    # it is no name of a folder: the error quotes it, in the form and on the card
    quoted = "it is '${alert(1)} <img src=x onerror=alert(2)> {{alert(3)}} [a"
    until(lambda: page.locator(".wrong").count() == 1 and quoted in page.inner_text(".wrong").replace("\u2060", ""))
    assert page.locator(".wrong a, .wrong img, #flight a, #flight img").count() == 0
    assert "${alert(1)} <img src=x onerror=alert(2)>" in page.inner_text("#flight")
    page.click("#level label:has-text('YAML')")
    page.wait_for_selector("#yaml:has-text('alert(1)')")
    page.click("#go")  # it is refused, with the words again
    page.wait_for_timeout(1500)
    page.click("#yaml .cm-content")
    page.keyboard.press("Control+a")
    page.keyboard.type("- <img src=x onerror=alert(8)>: : ")
    page.wait_for_selector("#flight:has-text('Not YAML yet')")
    page.click("#level label:has-text('Simple')")  # a message in a corner of the window, which Gradio reads as HTML
    page.wait_for_selector(".toast-wrap")
    page.wait_for_timeout(500)
    assert page.locator(".toast-wrap img").count() == 0
