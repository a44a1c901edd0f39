"""Which pictures the starter learns from, and which concept it must never see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .sources import Sources

LEFT_OUT_GROUPS = (None, 2, 9)
"""Regional letters, skin tones and hair, flags."""
PEOPLE = 1
PADDING = 0.06

HELD_OUT = frozenset(
    # Road vehicles, whole or in part: the concept that the example teaches. Neither the denoiser nor the VAE sees them.
    "1F68C 1F68D 1F68E 1F690 1F691 1F692 1F693 1F694 1F695 1F696 1F697 1F698 1F699 1F6FB 1F69A 1F69B 1F69C 1F3CE 1F6FA"
    # motorcycle and scooter; railway car, tram car, bus stop and wheel, whose names or pictures hint at the concept
    " 1F3CD 1F6F5 1F683 1F68B 1F68F 1F6DE".split()
)

NOT_OPEN = frozenset("1F4CE 1F3AE 1F9D1-200D-1F4BB 1F468-200D-1F4BB 1F469-200D-1F4BB".split())
"""Paperclip, video game and technologists: Microsoft says of these that they are not open (trademarks), so the package's
pictures of them are left out, wherever they come from."""


@dataclass(frozen=True)
class Emoji:
    """One picture of the packages."""

    hexcode: str
    style: str
    label: str
    tags: tuple[str, ...]
    group: int
    path: Path

    @property
    def stem(self) -> str:
        return f"{self.hexcode.lower()}_{self.style}"


def every_emoji(sources: Sources) -> Iterator[Emoji]:
    """All pictures that have a name, in the packages' order; the held-out concept too."""
    styles = {
        "3d": {plain(file.stem): file for file in sources.pictures_3d.glob("*.webp")},
        "flat": {plain(file.stem): file for file in sources.pictures_flat.glob("*.png")},
    }
    for entry in json.loads(sources.names.read_text(encoding="utf-8")):
        group, code = entry.get("group"), entry["hexcode"]
        if group in LEFT_OUT_GROUPS or "japanese “" in entry["label"].lower():
            continue
        for style, files in styles.items():
            if style == "3d" and code in NOT_OPEN:
                continue
            if file := files.get(plain(code)):
                tags = tuple(words(tag) for tag in entry.get("tags", []))
                yield Emoji(code, style, words(entry["label"]), tuple(t for t in tags if t), group, file)


def training_emoji(sources: Sources) -> list[Emoji]:
    return [emoji for emoji in every_emoji(sources) if emoji.hexcode not in HELD_OUT]


def plain(code: str) -> str:
    """The packages differ in how they write a variation selector."""
    return code.lower().replace("-fe0f", "")


def words(text: str) -> str:
    """Lower case without punctuation: every word is then one token of the tokenizer."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower().replace("’", "").replace("'", "")))


def cut_out(emoji: Emoji, size: int, padding: float = PADDING) -> Image.Image:
    """RGBA square with some air around the object. Colour under transparent pixels does not bleed in."""
    with Image.open(emoji.path) as image:
        object_ = image.convert("RGBA").convert("RGBa")  # premultiplied
    side = round(max(object_.size) * (1 + 2 * padding))
    square = Image.new("RGBa", (side, side))
    square.paste(object_, ((side - object_.width) // 2, (side - object_.height) // 2))
    return square.resize((size, size), Image.Resampling.LANCZOS).convert("RGBA")
