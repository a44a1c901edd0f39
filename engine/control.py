"""Requests from outside to a running job. Flags, read between steps; safe to set from any thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Request = Literal["stop", "save", "sample"]


class Stopped(Exception):
    """The person asked to stop before there was anything to save."""


@dataclass
class Control:
    stop: bool = False
    """Save, then end."""
    save: bool = False
    sample: bool = False

    def ask(self, request: Request) -> None:
        setattr(self, request, True)

    def take(self, request: Request) -> bool:
        """Whether it was asked for; asked again, it says no."""
        asked = getattr(self, request)
        setattr(self, request, False)
        return asked

    def check(self) -> None:
        """Raises Stopped if that was asked for: for the parts of a job that have nothing to lose."""
        if self.stop:
            raise Stopped
