"""How the browser tests use the app's window."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 90_000
"""Milliseconds that a busy machine may take for one thing."""


def settled(page: Any) -> None:
    """Waits until the window is there and nothing has been asked of the server for a moment."""
    page.wait_for_selector("#status .status")
    page.wait_for_timeout(1500)


def tab(page: Any, name: str) -> None:
    page.click(f"#pages > .tab-wrapper button[role=tab]:has-text('{name}')")
    page.wait_for_timeout(600)


def write(page: Any, selector: str, text: str) -> None:
    """Types into a field, in the place of what is there, and leaves it."""
    box = page.locator(f"{selector} textarea, {selector} input").first
    box.click()
    box.press("Control+a")
    box.press("Delete")
    page.keyboard.type(text, delay=5)
    box.press("Tab")


def until(condition: Callable[[], Any], seconds: float = PATIENCE / 1000) -> Any:
    """What the condition gives once it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "It did not come to pass."
        time.sleep(0.2)
    return value


def field(page: Any, label: str) -> Any:
    """A text field of the Pro form, by its label."""
    name = page.locator("[data-testid=block-info]").filter(has_text=re.compile(rf"^\s*{re.escape(label)}\s*$"))
    return page.locator("#pro label").filter(has=name).locator("textarea")
