"""What there is to say about the captions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..words import count, listed
from .album import Texts
from .finding import Finding, found, well
from .lengths import Ruler


def about_captions(texts: Texts, default: str | None, trigger: str | None, ruler: Ruler) -> Iterator[Finding]:
    """``default`` is the caption of pictures that have none."""
    pictures = texts.number + len(texts.missing) + len(texts.locked)
    blank = f" ({count(len(texts.empty), 'file is', 'files are')} there and empty)" if texts.empty else ""
    if default is None:
        yield from found("problem", "caption", texts.missing, f"has no caption{blank}", f"have no caption{blank}")
    elif texts.missing:
        told = "is called what default_caption says" if len(texts.missing) == 1 else "are called what default_caption says"
        yield Finding("ok", "caption", f"{count(len(texts.missing), 'picture')} without a caption {told}.")
    told = "that cannot be read"
    yield from found("problem", "caption_locked", texts.locked, f"has a caption {told}", f"have captions {told}")
    if not texts.missing and not texts.locked:
        yield from well("caption", pictures, "has a caption", "have captions")
    told = "not saved as UTF-8; look whether its accents are right"
    yield from found("look", "encoding", texts.odd, f"has a caption {told}", f"have captions {told.replace('its', 'their')}")
    if texts.long:
        worst = listed([f"{Path(path).name} ({tokens:,})" for path, tokens in sorted(texts.long, key=lambda one: -one[1])], 3)
        whose = f"{ruler.name or 'most models'} {'reads' if ruler.name else 'read'}"
        how = ", by an estimate" if ruler.guessed else ""
        told = f"more than the {ruler.limit:,} tokens that {whose}{how}, and the rest is left out: {worst}"
        yield from found("look", "long", [path for path, _ in texts.long], f"has a caption of {told}", f"have captions of {told}")
    if trigger:
        told = f"not say the trigger words, {trigger}"
        yield from found("look", "trigger", texts.untriggered, f"has a caption that does {told}", f"have captions that do {told}")
    if texts.same:  # as it is meant where the trigger words alone stand for one thing
        told = "the very words of another one"
        yield from found("ok", "repeated", texts.same, f"has {told}", f"have {told}")
