"""A library without data sets, and one picture in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import draw

from ui.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    (tmp_path / "sets").mkdir()
    (tmp_path / "cache").mkdir()
    return Library(tmp_path / "sets", tmp_path / "cache")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Where uploads lie."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def key(library, inbox) -> str:
    """The picture a.png of the data set x, with the caption "old"."""
    name = library.create("x")
    library.add(name, [draw(inbox / "a.png", caption="old"), inbox / "a.txt"])
    return "x/a.png"
