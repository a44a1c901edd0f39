"""Requests from outside to a running job. Flags, read between steps; safe to set from any thread."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import quote, unquote

Request = Literal["stop", "save", "sample", "pause", "go"]
CHANGE = "change:"
"""Before the values of a request to change settings."""
LOOK_EVERY = 0.2
"""Seconds between looks while paused."""


class Stopped(Exception):
    """The person asked to stop before there was anything to save."""


@dataclass
class Control:
    stop: bool = False
    """Save, then end."""
    save: bool = False
    sample: bool = False
    paused: bool = False
    """Give the device away until asked to go on."""
    if_changed: Literal["refuse", "ask", "go on"] = "refuse"
    """What a run does that finds other settings or data than it was saved with. To ask is for where somebody sees the question."""
    asked: bool = False
    """A person is asked whether the run is to go on: "go" or "stop" is the answer."""
    changes: list[dict[str, Any]] = field(default_factory=list)
    """Settings by key, such as train.lr, in the order in which they were asked for."""

    def ask(self, request: Request) -> None:
        if request in ("pause", "go"):
            self.paused = request == "pause"
        else:
            setattr(self, request, True)

    def change(self, values: dict[str, Any]) -> None:
        """Go on with other settings."""
        self.changes.append(values)

    def hear(self, word: str) -> None:
        """A request as ``word_of`` writes it. What a newer program may ask for is left out."""
        if word.startswith(CHANGE):
            self.change(json.loads(unquote(word.removeprefix(CHANGE))))
        for request in get_args(Request):
            if word == request:
                self.ask(request)

    def take(self, request: Literal["save", "sample"]) -> bool:
        """Whether it was asked for; asked again, it says no."""
        asked = getattr(self, request)
        setattr(self, request, False)
        return asked

    def wait(self) -> None:
        """Returns when asked to go on, or to stop."""
        while self.paused and not self.stop:
            time.sleep(LOOK_EVERY)

    def check(self) -> None:
        """Raises Stopped if that was asked for: for the parts of a job that have nothing to lose."""
        if self.stop:
            raise Stopped


def word_of(values: dict[str, Any]) -> str:
    """A change of settings as one word, without spaces."""
    return CHANGE + quote(json.dumps(values))
