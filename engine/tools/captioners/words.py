"""Captions that need no model: the file's name as words, and a template."""

from __future__ import annotations

import re
from pathlib import Path

from ...data.words import printable
from ...jobs.tools.captions import FileName, Template
from .base import Describe


def name_files(settings: FileName) -> Describe:
    return lambda paths: [words_of(path.stem, settings.numbers) for path in paths]


def fill_template(settings: Template) -> Describe:
    def fill(path: Path) -> str:
        names = {"[name]": words_of(path.stem), "[folder]": words_of(path.parent.name)}
        return re.sub(r"\[name\]|\[folder\]", lambda match: names[match[0]], settings.text)

    return lambda paths: [fill(path) for path in paths]


def words_of(name: str, numbers: bool = False) -> str:
    """The name with spaces for what stands between its words; words of digits alone are left out."""
    words = re.split(r"[\s_\-.+]+", printable(name))
    return " ".join(word for word in words if word and (numbers or not word.isdigit()))
