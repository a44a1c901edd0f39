"""What the buttons on a run's page ask of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from engine.events import Agreed, Asked, Finished, Phase, Step
from engine.jobs import load_job
from engine.queue import Runner
from engine.runs.folder import RunFolder
from ui import drawer
from ui.headline import headline, question
from ui.studio import Studio
from ui.tabs import run


@pytest.fixture
def studio() -> Studio:
    studio = Studio(Runner())
    studio.runner.submit(load_job({"name": "fox", "model": {"name_or_path": "m"}, "datasets": [{"path": "p"}]}))
    return studio


@pytest.fixture
def asked(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is asked of a run."""
    found: list[str] = []
    monkeypatch.setattr(studio.runner, "ask", lambda name, request: found.append(f"{name}: {request}"))
    monkeypatch.setattr(gr, "Info", lambda *_, **__: None)
    return found


@pytest.fixture
def press(studio: Studio) -> Callable[[str], Any]:
    """Presses the button for a pause that says this."""
    with gr.Blocks() as page:
        run.build(studio, gr.State(None))
    [button] = [block for block in page.blocks.values() if getattr(block, "elem_id", "") == "pause"]
    [bound] = [fn.fn for fn in page.fns.values() if fn.targets[0] == (button._id, "click")]
    return lambda said: bound("fox", said)


def test_a_pause_that_is_pressed_in_two_tabs_is_one_pause(studio: Studio, asked: list[str], press: Callable[[str], Any]) -> None:
    log = RunFolder(studio.runner.root / "fox")
    log.append(Step(step=3, total=9, loss=1.0, lr=1e-4, seconds=1.0))
    press("Pause")
    assert asked == ["fox: pause"]
    log.append(Phase(name="Paused after step 3"))
    press("Pause")  # in a tab that does not show it yet
    assert asked == ["fox: pause"]
    press(run.GO_ON)
    log.append(Step(step=4, total=9, loss=1.0, lr=1e-4, seconds=1.0))
    press(run.GO_ON)
    assert asked == ["fox: pause", "fox: go"]


# ------------------------------------------------------------------------------------------------- a question

ASKED = Asked(step=3, settings={"train.lr": (1e-4, 2e-4)}, data=[("cats <i>", 6, 7), ("dogs", 4, 4)], about="x")


@pytest.fixture
def page(studio: Studio, asked: list[str]) -> SimpleNamespace:
    """The run's page: what it shows, and its buttons."""
    with gr.Blocks() as blocks:
        view = run.build(studio, gr.State(None))

    def shown(name: str = "fox", running: bool = True) -> dict[str, Any]:
        """Words of the card, and the buttons that are there, as a tab of the browser that comes now gets them."""
        record = studio.runner.get(name)
        updates, _ = view.watch(replace(record, status="running") if running else record, None)
        buttons = {}
        for widget, update in updates.items():
            if isinstance(widget, gr.Button) and update.get("visible"):
                buttons[update.get("value", widget.value)] = update.get("interactive", True)
        [change] = [update for widget, update in updates.items() if getattr(widget, "elem_id", "") == "change"] or [{}]
        return {"card": updates[view.card], "buttons": buttons, "change": change.get("visible")}

    def press(elem_id: str, *given: Any) -> Any:
        [button] = [block for block in blocks.blocks.values() if getattr(block, "elem_id", "") == elem_id]
        [bound] = [fn.fn for fn in blocks.fns.values() if fn.targets[0] == (button._id, "click")]
        return bound("fox", *given)

    return SimpleNamespace(shown=shown, press=press)


def test_a_question_is_one_sentence_and_two_buttons_for_every_tab_that_comes(
    studio: Studio, asked: list[str], page: SimpleNamespace
) -> None:
    log = RunFolder(studio.runner.root / "fox")
    log.append(Step(step=3, total=9, loss=1.0, lr=1e-4, seconds=1.0))
    assert set(page.shown()["buttons"]) == {"Pause", "Sample now", "Save now", "Stop"} and page.shown()["change"]
    log.append(Phase(name="Loading the model"))
    log.append(ASKED)
    for _ in range(2):  # after a reload, in a second tab
        now = page.shown()
        assert now["buttons"] == {run.YES: True, "Stop": True} and not now["change"]
        assert "waiting for your answer at step 3 of 9" in now["card"]
        sentence = "the data set cats &lt;i&gt; has 7 pictures instead of 6, the data set dogs has other pictures or captions and learning rate is 0.0002 instead of 0.0001."
        assert f"Since it was saved, {sentence} Go on with it?" in now["card"]
    page.press("pause", "Pause")  # in a tab that does not show the question yet
    assert asked == []
    page.press("pause", run.YES)
    log.append(Agreed(step=3, about="x"))
    page.press("pause", run.YES)
    assert asked == ["fox: go"] and set(page.shown()["buttons"]) == {"Pause", "Sample now", "Save now", "Stop"}


def test_stop_at_a_question_says_that_nothing_is_touched(
    studio: Studio, asked: list[str], page: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Info", lambda words, **_: said.append(words))
    log = RunFolder(studio.runner.root / "fox")
    log.append(ASKED)
    page.press("stop")
    assert asked == ["fox: stop"] and said == ["It stops. What is saved is as it was."]
    log.append(Finished(step=3, reason="stopped"))
    record = replace(studio.runner.get("fox"), status="stopped")
    with studio.history(record) as history:
        card = headline(history, studio.job(record), "stopped")
    assert card.left.startswith("stopped at step 3") and "Continue asks again" in card.health[1]
    log.append(Phase(name="Reading pictures"))  # it is continued
    page.press("stop")
    assert said[1] == "It stops and saves at the end of this step."


def test_who_waits_behind_a_question_and_the_list_of_runs_say_so(studio: Studio, page: SimpleNamespace) -> None:
    studio.runner.submit(load_job({"name": "owl", "model": {"name_or_path": "m"}, "datasets": [{"path": "p"}]}))
    assert studio.runner.queue.claim("train", "somebody").name == "fox"
    assert "It starts when fox is done." in page.shown("owl", running=False)["card"]
    RunFolder(studio.runner.root / "fox").append(ASKED)
    assert "It starts when fox, which waits for your answer, is done." in page.shown("owl", running=False)["card"]
    assert drawer.pill(studio) == ("fox · waits for you", "running")
    assert next(state for name, state, *_ in drawer.rows(studio) if name == "fox").startswith("waits for you")


def test_a_run_that_begins_while_its_page_is_drawn_waits_for_nobody(studio: Studio) -> None:
    with gr.Blocks():
        view = run.build(studio, gr.State(None))
    read_before = studio.runner.get("fox")
    studio.runner.queue.claim("train", "somebody")
    assert read_before.status == "queued" and studio.active().status == "running"
    cards: list[str] = []
    drawing = threading.Thread(target=lambda: cards.append(view.watch(read_before, None)[0][view.card]), daemon=True)
    drawing.start()
    drawing.join(20)
    assert cards, "it waits for itself"
    assert "It starts when" not in cards[0]


def test_an_autoencoder_asks_as_well(studio: Studio, page: SimpleNamespace) -> None:
    studio.runner.submit(load_job({"kind": "vae", "name": "vae", "vae_path": "v", "datasets": [{"path": "p"}]}))
    RunFolder(studio.runner.root / "vae").append(Phase(name="Loading pictures"))
    assert set(page.shown("vae")["buttons"]) == {"Stop"}
    RunFolder(studio.runner.root / "vae").append(ASKED)
    now = page.shown("vae")
    assert now["buttons"] == {run.YES: True, "Stop": True} and "Go on with it?" in now["card"]


def test_of_very_many_changes_a_question_names_three() -> None:
    many = Asked(step=1, settings={f"train.key_{index}": (None, "long " * 20) for index in range(5)})
    assert (
        question(many).startswith("Since it was saved, key 0 is long long")
        and question(many).endswith(" and 2 more.")
        and "…" in question(many)
    )
    assert len(question(many)) < 300
