"""Which run the window shows."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr

from engine.jobs import load_job
from engine.queue import Runner
from ui.shell import UNDECIDED, Window
from ui.studio import Studio


def test_a_tick_that_began_before_train_was_pressed_does_not_take_the_run_away() -> None:
    studio = Studio(Runner())
    with gr.Blocks() as demo:
        window = Window(studio, demo)
    begun_before = window.follow(None, None)
    studio.runner.submit(load_job({"name": "fox", "model": {"name_or_path": "m"}, "datasets": [{"path": "p"}]}))
    pressed = window._open_run("fox")
    assert pressed[window.shown] == "fox" and pressed[window.run.view]["visible"]
    state = pressed | begun_before  # in the order in which they end
    assert state[window.shown] == "fox"
    healed = window.follow(state[window.shown], state[window.seen])
    assert healed[window.run.view]["visible"] and not healed[window.form.view]["visible"]


def test_a_window_that_was_open_before_the_app_was_started_anew_shows_its_run_and_one_that_loads_waits() -> None:
    studio = Studio(Runner())
    studio.runner.submit(load_job({"name": "fox", "model": {"name_or_path": "m"}, "datasets": [{"path": "p"}]}))
    with gr.Blocks() as demo:
        window = Window(studio, demo)
    old, new = SimpleNamespace(session_hash="old"), SimpleNamespace(session_hash="new")
    assert window._welcome(new) == "fox"  # it is told with everything else
    assert window._tick(UNDECIDED, None, new) == {}
    found = window._tick(UNDECIDED, None, old)
    assert found[window.shown] == "fox" and found[window.run.view]["visible"]
    assert window._tick(UNDECIDED, None, old) == {}
