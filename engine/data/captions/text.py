"""Captions: text files beside the pictures. They are read as they are, and changed only by what was switched on."""

from __future__ import annotations

import codecs
import functools
import os
import re
from pathlib import Path

from ...errors import JobError
from ..chance import number
from ..words import name_of

TRIGGER = "[trigger]"
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Nothing waits for a pipe that has the name of a caption."""
_PIECE = 1 << 12
"""Bytes that are read at once: most captions are shorter, and room for more takes time to find."""


def read_caption(path: Path, caption_ext: str = ".txt") -> str | None:
    """The caption of the picture ``path``; None where there is no file, or nothing but blanks in it."""
    return read_text(path, caption_ext)[0]


def read_text(path: Path | str, caption_ext: str = ".txt") -> tuple[str | None, bool]:
    """The caption, and whether its file was Unicode, as it should be. Other files are read as Windows wrote them."""
    return read_file(os.path.splitext(path)[0], _ending(caption_ext))


def read_file(stem: str, ending: str) -> tuple[str | None, bool]:
    """As ``read_text``, of a path without its ending. Text and no Path: with very many that counts."""
    data = _contents(stem + ending)
    if data is None:
        data = _contents(stem + ending.upper())
    text, unicode = decode_text(data or b"")
    return text.strip() or None, unicode


def _contents(file: str) -> bytes | None:
    """The bytes of a file; None if there is no such file. Leaner than ``open``, which counts with very many files."""
    try:
        handle = os.open(file, _READ)
        try:
            parts = [os.read(handle, _PIECE)]
            while part := os.read(handle, _PIECE):
                parts.append(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            os.close(handle)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except OSError as error:
        if os.path.isdir(file):  # as Windows says it
            return None
        raise JobError(f"The caption {name_of(Path(file))} cannot be read: {error.strerror}.", "Allow this user to read it.") from error


def caption_file(path: Path, caption_ext: str = ".txt") -> Path:
    """Where the caption of the picture ``path`` is, or would be."""
    return path.with_name(path.stem + _ending(caption_ext))


@functools.cache
def _ending(caption_ext: str) -> str:
    ending = caption_ext if caption_ext.startswith(".") else f".{caption_ext}"
    if "/" in ending or "\\" in ending or ending == ".":
        raise JobError(f"caption_ext is {caption_ext!r}.", "It is the ending of the caption files, for example .txt.")
    return ending


def decode_text(data: bytes) -> tuple[str, bool]:
    """The text of a file, and whether it was Unicode. Never fails."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what old Windows editors call Unicode
        return data.decode("utf-16", errors="replace"), True
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode(), True
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), False


def whole_words(words: str, ignore_case: bool = False) -> re.Pattern[str]:
    """Finds ``words`` where they are words of a text: cat is not in category."""
    return re.compile(rf"(?<!\w){re.escape(words)}(?!\w)", re.IGNORECASE if ignore_case else 0)


def with_words(text: str, words: str, others: str) -> str:
    """The text with other words in the place of some, where those are words of it."""
    return whole_words(words).sub(lambda found: others, text)


def apply_trigger(text: str, trigger: str | None) -> str:
    """The text with the trigger words in the place of [trigger]; nothing else changes."""
    return text.replace(TRIGGER, trigger) if trigger else text


def dropped(seed: int, step: int, position: int, rate: float) -> bool:
    """Whether the caption at ``position`` of the batch of ``step`` is left empty. The same each time it is asked."""
    return number("caption", seed, step, position) < rate * 2**64
