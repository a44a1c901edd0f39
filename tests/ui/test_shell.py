"""Which run the window shows."""

from __future__ import annotations

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
    assert window.follow(UNDECIDED, None) == {}
