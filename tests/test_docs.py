"""What the documents say of the program is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from engine import reference as made
from engine.cli import app
from engine.jobs import KINDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "THIRD_PARTY.md",
        "docs/architecture.md",
        "docs/data.md",
        "docs/training.md",
        "docs/runs.md",
    )
]
MADE = ("output/", "datasets/", "cache/", ".venv")
"""Begin of paths that a person makes: they need not be there."""


@pytest.mark.parametrize("path", made.PAGES, ids=lambda path: path.name)
def test_pages_that_are_made_are_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == made.PAGES[path](), "Run: ./launch.sh docs"


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_has_its_sentence(kind: str) -> None:
    for line in made.reference().partition(f"## kind: {kind}\n")[2].partition("\n## ")[0].splitlines():
        if line.startswith("| `"):
            assert len(line.split(" | ")[-1].strip(" |")) > 3, f"{line} has no sentence under its field"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    named = set(re.findall(r"`([\w.-]+(?:/[\w.{}*,-]+)+/?|[\w-]+\.(?:py|sh|bat|md|yaml|toml|txt))`", text))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    missing = [name for name in sorted(named) if not name.startswith(MADE) and not _exists(page, name)]
    assert missing == []


def _exists(page: Path, name: str) -> bool:
    if "<" in name or "{" in name:
        return True  # a pattern, not a path
    return any(list(folder.glob(name.rstrip("/"))) for folder in (ROOT, ROOT / "engine", page.parent) if not name.startswith(".."))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_is_there(page: Path) -> None:
    known = {"app", "test", *get_command(app).commands}  # type: ignore[attr-defined]
    for command in re.findall(r"launch\.sh +([a-z]+)", page.read_text("utf-8")):
        assert command in known, command


def test_the_architecture_is_one_page() -> None:
    assert len((ROOT / "docs" / "architecture.md").read_text("utf-8").splitlines()) <= 90
