"""Extensions: Python files in extensions/, and installed packages with the entry point ``darkroom``.

Each has ``register(registry)``. One that fails is reported and stops nothing else.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from . import execute
from .errors import JobError
from .events import Warned
from .families.catalog import FAMILIES, FamilyInfo
from .jobs import load
from .jobs.base import Job
from .settings import ROOT


class Registry:
    """What an extension may add. A name that is taken is an error."""

    def family(self, info: FamilyInfo) -> None:
        """A model family; ``info.dotted`` names its class, "package.module:Class"."""
        _add(FAMILIES, info.name, info, "family")

    def job(self, job: type[Job], function: str) -> None:
        """A kind of job, and "package.module:function" that makes its events."""
        kind = job.model_fields["kind"].default
        _add(load.KINDS, kind, job, "kind of job")
        _add(execute.KINDS, kind, function, "kind of job")


def load_extensions(folder: Path = ROOT / "extensions") -> list[Warned]:
    """Registers every extension; returns a warning for each that could not be."""
    return [warning for name, find in _found(folder) if (warning := _register(name, find))]


def _found(folder: Path) -> Iterator[tuple[str, Callable[[], Callable[[Registry], None]]]]:
    for path in sorted(folder.glob("*.py")):
        yield path.name, partial(_from_file, path)
    for point in entry_points(group="darkroom"):
        yield point.name, point.load


def _from_file(path: Path) -> Callable[[Registry], None]:
    spec = importlib.util.spec_from_file_location(f"darkroom_extension_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise JobError(f"{path.name} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # found again by its dotted name
    spec.loader.exec_module(module)
    return module.register


def _register(name: str, find: Callable[[], Callable[[Registry], None]]) -> Warned | None:
    try:
        find()(Registry())
    except Exception as error:  # whatever somebody else's code does, the app opens
        return Warned(
            message=f"The extension {name} could not be loaded: {type(error).__name__}: {error}",
            hint="Everything else works. Mend or remove it.",
        )
    return None


def _add(table: dict[str, Any], name: str, value: Any, what: str) -> None:
    if name in table:
        raise JobError(f"The {what} {name!r} exists already.", "Choose another name.")
    table[name] = value
