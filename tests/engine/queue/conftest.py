"""Runners with real threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from counting import Make, count

from engine.queue import Runner


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes runners on one database, and ends them. Their jobs only count; with None as the engine they train."""
    made: list[Runner] = []

    def runner(execute: Any = count, start: bool = True) -> Runner:
        made.append(Runner(tmp_path / "output", tmp_path / "queue.db", execute=execute))
        if start:
            made[-1].start()
        return made[-1]

    yield runner
    for each in made:
        each.close(timeout=60)
        assert not any(thread.is_alive() for thread in each._lanes.values())
