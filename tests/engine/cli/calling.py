"""The command line, called as a person calls it."""

from __future__ import annotations

from typer.testing import CliRunner

from engine.cli import app
from engine.errors import JobError


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit code, what it said, and what it said on the side."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, JobError):  # what engine.__main__ does with it
        return 2, done.stdout, done.stderr + str(done.exception)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


class Window(list):
    """A stream that keeps what is written."""

    def __init__(self, watched: bool):
        self.watched = watched

    def isatty(self) -> bool:
        return self.watched

    def write(self, text: str) -> None:
        self.append(text)

    def flush(self) -> None:
        pass
