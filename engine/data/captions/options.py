"""What the person switched on for the words of a caption between commas: another order, some left out, some added.

Text features are made once and kept, so a caption has a fixed number of versions (``caption_variants``): which ones follows
from the seed and the caption, and which of them a batch is shown from the seed, the micro-batch and the place in it.
A caption that nothing happens to comes out byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ...errors import JobError
from ...events import Warned
from ...jobs import Dataset
from ...settings import resolve
from ..chance import number
from ..words import printable
from .text import decode_text, dropped

_COMMA = re.compile(r"(?<!\d),|,(?!\d)")
"""1,000 is one part."""


@dataclass(frozen=True)
class Wording:
    """The settings of one data set, with its random triggers at hand."""

    dropout: float = 0.0
    """Share of steps without any caption."""
    shuffle: bool = False
    keep: int = 0
    """Parts at the front that stay."""
    token_dropout: float = 0.0
    triggers: tuple[str, ...] = ()
    triggers_max: int = 1
    count: int = 8
    """Versions of a caption, where it has several."""

    @property
    def varies(self) -> bool:
        """Whether a caption has more than one version."""
        return bool(self.shuffle or self.token_dropout or self.triggers)


def wording_of(dataset: Dataset) -> Wording:
    """The settings of a data set. Raises JobError for a file of random triggers that is not there."""
    return Wording(
        dataset.caption_dropout_rate, dataset.shuffle_tokens, dataset.keep_tokens, dataset.token_dropout_rate,
        tuple(_triggers(dataset.random_triggers)), dataset.random_triggers_max, dataset.caption_variants,
    )  # fmt: skip


def variants(caption: str, wording: Wording, seed: int) -> list[str]:
    """All texts that can come of a caption, each once: the empty one too where captions are dropped."""
    texts = [_version(caption, wording, seed, index) for index in range(wording.count if wording.varies else 1)]
    return list(dict.fromkeys([*texts, ""] if wording.dropout else texts))


def text_at(caption: str, wording: Wording, seed: int, micro: int, position: int) -> str:
    """What the picture at ``position`` of micro-batch ``micro`` is shown with: one of ``variants``."""
    if dropped(seed, micro, position, wording.dropout):
        return ""
    return _version(caption, wording, seed, number("variant", seed, micro, position) % wording.count) if wording.varies else caption


def wording_notes(dataset: Dataset, captions: Sequence[str]) -> Iterator[Warned]:
    """Settings that have no effect on these captions."""
    moves = dataset.shuffle_tokens or dataset.token_dropout_rate
    if dataset.keep_tokens and not moves:
        yield Warned(
            message="keep_tokens has no effect: nothing is shuffled or left out.", hint="Set shuffle_tokens or token_dropout_rate."
        )
    if dataset.random_triggers_max > 1 and not dataset.random_triggers:
        yield Warned(message="random_triggers_max has no effect: there are no random_triggers.")
    if dataset.differs("caption_variants") and not wording_of(dataset).varies:
        yield Warned(message="caption_variants has no effect: nothing is shuffled, left out or added.")
    if dataset.shuffle_tokens and not dataset.random_triggers and captions and not any(_COMMA.search(caption) for caption in captions):
        yield Warned(message="shuffle_tokens has no effect: no caption has a comma in it.")
    if dataset.keep_tokens and moves and captions and all(len(_COMMA.findall(caption)) < dataset.keep_tokens for caption in captions):
        yield Warned(
            message=f"No caption has more than {dataset.keep_tokens} parts, and keep_tokens keeps them all: nothing is shuffled or left out."
        )


def _version(caption: str, wording: Wording, seed: int, index: int) -> str:
    """Version ``index`` of a caption. The parts move; commas and the blanks around them stay where they are."""

    key = number("words", seed, index, caption)

    def draw(what: str, place: int) -> int:
        return number(what, key, place)

    slots = [_slot(piece) for piece in _COMMA.split(caption)]
    places = [place for place, (_, part, _) in enumerate(slots) if part]
    old = [slots[place][1] for place in places]
    stays = [part for place, part in enumerate(old) if place >= wording.keep and draw("left out", place) >= wording.token_dropout * 2**64]
    stays += _drawn_triggers(wording, draw)
    if wording.shuffle:
        order = sorted(range(len(stays)), key=lambda place: draw("order", place))
        stays = [stays[place] for place in order]
    new = old[: wording.keep] + stays
    cut = len(slots) if len(new) == len(old) else places[min(len(new), len(old)) - 1] + 1 if new and old else 0
    moved = dict(zip(places, new))
    text = ",".join(before + moved.get(place, "") + after for place, (before, _, after) in enumerate(slots[:cut]))
    return text if len(new) == len(old) else ", ".join([text.rstrip()] * bool(cut) + new[len(old) :])


def _drawn_triggers(wording: Wording, draw: Callable[[str, int], int]) -> list[str]:
    """The random triggers of one version: one, or with a larger maximum none to that many."""
    if not wording.triggers:
        return []
    most = min(wording.triggers_max, len(wording.triggers))
    many = draw("how many", 0) % (most + 1) if wording.triggers_max > 1 else 1
    order = sorted(range(len(wording.triggers)), key=lambda place: draw("trigger", place))
    return [wording.triggers[place] for place in order[:many]]


def _slot(piece: str) -> tuple[str, str, str]:
    """Blanks, what is between them, blanks."""
    part = piece.strip()
    before, _, after = piece.partition(part) if part else (piece, "", "")
    return before, part, after


def _triggers(given: Sequence[str]) -> Iterator[str]:
    """The words as given; of a text file, its lines."""
    for one in given:
        if not one.lower().endswith(".txt"):
            yield one
            continue
        try:
            text = decode_text(resolve(one).read_bytes())[0]
        except OSError as error:
            raise JobError(f"The file of random_triggers {printable(one)} cannot be read: {error.strerror}.", "Check its path.") from error
        yield from (line.strip() for line in text.splitlines() if line.strip())
