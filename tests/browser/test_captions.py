"""The caption editor saves what was written, however it was written, and never on another picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from window import tab, until

pytestmark = pytest.mark.browser
BOX = "#caption textarea"


@pytest.fixture
def pictures(app, page, witness) -> Path:
    """A data set of six pictures, each with a caption of its own, opened in the window."""
    folder = app.home / "datasets" / "six"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(6):
        Image.new("RGB", (64, 64), (40 * number, 90, 90)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"caption {number}\n")
    witness.reload(page)
    tab(page, "Datasets")
    page.wait_for_selector("#thumbs img >> nth=5")
    return folder


def read(folder: Path) -> list[str]:
    return [path.read_text().strip() if (path := folder / f"{number}.txt").exists() else "" for number in range(6)]


def test_keys_deletions_and_pastes_are_saved(page, pictures) -> None:
    page.click(BOX)
    page.keyboard.press("End")
    page.keyboard.type(" typed", delay=10)
    until(lambda: read(pictures)[0] == "caption 0 typed")
    for _ in range(3):
        page.keyboard.press("Backspace")
    until(lambda: read(pictures)[0] == "caption 0 ty")
    page.keyboard.insert_text(" pasted")  # as the clipboard does it: no key is heard
    until(lambda: read(pictures)[0] == "caption 0 ty pasted")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    until(lambda: read(pictures)[0] == "")
    page.keyboard.press("Tab")
    page.wait_for_selector("#problems:has-text('1 picture has no caption')")
    assert page.locator("#thumbs .caption-label").inner_text() == "no caption"
    assert read(pictures)[1:] == [f"caption {number}" for number in range(1, 6)]


def test_going_on_while_typing_leaves_each_caption_with_its_picture(page, pictures) -> None:
    for number in range(6):
        until(lambda number=number: page.inner_text("#big").strip().endswith(f"{number}.png"))
        page.click(BOX)
        page.keyboard.press("End")
        page.keyboard.type(f" and {number}", delay=2)
        page.click("button:has-text('Next')")
    until(lambda: page.inner_text("#big").strip().endswith("0.png"))
    for _ in range(9):
        page.click("button:has-text('Next')", delay=1)  # faster than the answers come
    page.wait_for_timeout(2500)
    assert read(pictures) == [f"caption {number} and {number}" for number in range(6)]


def test_a_deleted_picture_can_be_put_back(page, pictures) -> None:
    page.click("button:has-text('Delete') >> nth=0")
    page.wait_for_selector("#problems:has-text('0.png is deleted')")
    assert not (pictures / "0.png").exists() and not (pictures / "0.txt").exists()
    page.click("#problems [data-act=undo]")
    until(lambda: (pictures / "0.png").exists() and (pictures / "0.txt").exists())
    until(lambda: page.locator("#thumbs img").count() == 6)
