"""What the buttons on a run's page ask of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest

from engine.events import Phase, Step
from engine.jobs import load_job
from engine.queue import Runner
from engine.runs.folder import RunFolder
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
