"""How the app's handlers are bound: many at once, no spinner over what stays readable, and nothing sent where nothing is new."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import gradio as gr

from engine.errors import JobError

Updates = dict[Any, Any]
"""Widget → its new value or properties; widgets that are not in it stay as they are."""


def on(trigger: Any, handler: Callable[..., Any], inputs: Any = None, outputs: Any = None, **more: Any) -> Any:
    """Binds the handler to an event (``button.click``) or a list of events. Its updates may be empty."""
    # Without show_progress_on the browser visits every widget that any handler may change, four times an event: seconds, not milliseconds.
    options = {"show_progress": "hidden", "show_progress_on": [], "concurrency_limit": None} | more
    fn = handler if inspect.isasyncgenfunction(handler) else _nothing_is_nothing(handler)
    if isinstance(trigger, list):
        return gr.on(trigger, fn, inputs, outputs, **options)
    return trigger(fn, inputs, outputs, **options)


def _nothing_is_nothing(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Gradio takes an empty dict for one value too few."""

    @functools.wraps(handler)
    def call(*given: Any) -> Any:
        result = handler(*given)
        return gr.skip() if isinstance(result, dict) and not result else result

    return call


@contextmanager
def warned(title: str = "That did not work") -> Iterator[None]:
    """A fault that the person can mend becomes a message in the window, and what comes after the block goes on."""
    try:
        yield
    except (JobError, OSError) as error:
        gr.Warning(escape(str(error)), title=title)
