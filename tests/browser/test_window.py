"""The window as a whole: a crash of the app, pages that fit, themes that are remembered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from window import settled, tab, until, write

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PAGES = ("Datasets", "Train", "Sample", "LoRA tools")
SHOTS = os.environ.get("DARKROOM_SHOTS")
"""A folder: screenshots of every page are put there."""


def test_after_a_crash_the_open_window_finds_the_app_again_and_the_run_goes_on(app, context) -> None:
    page = context.new_page()  # unwatched: requests to an app that is dead are errors
    page.goto(app.address)
    settled(page)
    page.click("#example")
    page.wait_for_selector("#go")
    until(lambda: page.input_value("#run-name textarea") == "example-car")
    write(page, "#prompts", "a 3d emoji of [trigger] car")
    write(page, "#steps", "3000")
    page.click("#go")
    until(lambda: page.locator(".frames.strip img").count() >= 1)
    log = app.home / "output" / "example-car" / "log.txt"
    until(lambda: "step 3 of" in log.read_text())
    app.kill()
    app.start()
    page.wait_for_selector("#continue:visible")  # nobody has reloaded anything
    assert "It was cut off" in page.inner_text("#headline")
    page.click("#continue")
    page.wait_for_selector("#stop:visible")
    until(lambda: log.read_text().count("step 3 of") >= 2)
    page.click("#stop")
    page.wait_for_selector("#headline:has-text('everything is saved')")


def test_a_closed_terminal_saves_what_is_running(app, page) -> None:
    """Goes on from the test before: the run has a state to continue from."""
    run = app.home / "output" / "example-car"
    if not run.exists():
        pytest.skip("wants the run of the test before")
    page.click("#open-runs")
    page.click("#runs [data-act=continue]")
    before = len(list((run / "state").iterdir()))
    assert before == 1
    state = next((run / "state").iterdir()).name
    until(lambda: "continued from step" in (run / "log.txt").read_text())
    page.wait_for_timeout(3000)
    page.context.close()
    app.stop()
    try:
        assert next((run / "state").iterdir()).name > state
        assert "Stopped at step" in (run / "log.txt").read_text().splitlines()[-1]
    finally:
        app.start()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_every_page_fits_into_the_window(app, chromium, witness, width: int, theme: str) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 900 if width > 500 else 844}, color_scheme=theme)
    page = context.new_page()
    witness.watch(page)
    page.goto(app.address)
    settled(page)
    for name in (*PAGES, "Settings"):
        if name == "Settings":
            page.click("#open-settings")
        else:
            tab(page, name)
        page.wait_for_timeout(900)
        if SHOTS:
            page.screenshot(path=str(Path(SHOTS) / f"{name.lower().replace(' ', '-')}-{width}-{theme}.png"))
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} pixels wider than a window of {width}"
    context.close()


def test_the_theme_that_was_chosen_is_there_after_a_reload(page, witness) -> None:
    assert page.evaluate("document.body.classList.contains('dark')")
    page.click("#toggle-theme")
    witness.reload(page)
    assert not page.evaluate("document.body.classList.contains('dark')")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(246, 243, 238)"  # paper


def test_who_clicks_before_all_has_come_stays_there(app, context, witness) -> None:
    page, held, wait = context.new_page(), [], True
    witness.watch(page)
    page.route("**/queue/join*", lambda route: held.append(route) if wait else route.continue_())  # nothing is answered yet
    page.goto(app.address)
    tab(page, "Sample")
    wait = False  # before the first one goes on: one that comes meanwhile would be held for ever
    for route in held:
        route.continue_()
    page.wait_for_selector("#sheet :is(.nothing, .frames)")  # all has come
    page.wait_for_timeout(1000)
    page.wait_for_selector("#pages > .tab-wrapper button[role=tab].selected:has-text('Sample')")


def test_the_page_that_was_open_is_open_after_a_reload(page, witness) -> None:
    tab(page, "LoRA tools")
    witness.reload(page)
    page.wait_for_selector("#pages > .tab-wrapper button[role=tab].selected:has-text('LoRA tools')")
