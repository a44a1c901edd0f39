"""Captions: text files beside the pictures. They are read as they are, and changed only by what was switched on."""

from __future__ import annotations

import codecs
from pathlib import Path

from ..errors import JobError
from .chance import number
from .words import name_of

TRIGGER = "[trigger]"


def read_caption(path: Path, caption_ext: str = ".txt") -> str | None:
    """The caption of the picture ``path``; None where there is no file, or nothing but blanks in it."""
    return read_text(path, caption_ext)[0]


def read_text(path: Path, caption_ext: str = ".txt") -> tuple[str | None, bool]:
    """The caption, and whether its file was Unicode, as it should be. Other files are read as Windows wrote them."""
    file = caption_file(path, caption_ext)
    for candidate in (file, file.with_name(path.stem + file.name[len(path.stem) :].upper())):
        try:
            data = candidate.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            continue
        except OSError as error:
            raise JobError(
                f"The caption {name_of(candidate)} cannot be read: {error.strerror}.",
                "Allow this user to read it.",
            ) from error
        text, unicode = _decode(data)
        return text.strip() or None, unicode
    return None, True


def caption_file(path: Path, caption_ext: str = ".txt") -> Path:
    """Where the caption of the picture ``path`` is, or would be."""
    ending = caption_ext if caption_ext.startswith(".") else f".{caption_ext}"
    if "/" in ending or "\\" in ending or ending == ".":
        raise JobError(
            f"caption_ext is {caption_ext!r}.", "It is the ending of the caption files, for example .txt."
        )
    return path.with_name(path.stem + ending)


def _decode(data: bytes) -> tuple[str, bool]:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what old Windows editors call Unicode
        return data.decode("utf-16", errors="replace"), True
    try:
        return data.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), False


def apply_trigger(text: str, trigger: str | None) -> str:
    """The text with the trigger words in the place of [trigger]; nothing else changes."""
    return text.replace(TRIGGER, trigger) if trigger else text


def dropped(seed: int, step: int, position: int, rate: float) -> bool:
    """Whether the caption at ``position`` of the batch of ``step`` is left empty. The same each time it is asked."""
    return number("caption", seed, step, position) < rate * 2**64
