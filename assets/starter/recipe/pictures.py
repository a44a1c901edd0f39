"""The training pictures: each emoji as it is, on named backgrounds, in named colours, with captions that say so; and forty common
things in every colour (palette.py).

A base that only ever sees yellow faces on white learns pictures by heart, and no style far from white can be taught to
it. So colour and background vary, and captions name what varies. Deterministic: every draw follows from the seed and
the picture's name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from random import Random

from PIL import Image

from .colours import LABEL_COLOURS, OBJECT_COLOURS, background, recoloured
from .emoji import PADDING, PEOPLE, Emoji, cut_out, training_emoji
from .palette import palette_draws
from .sources import Sources
from .unseen import is_kept_out

SEED = 42
SIZE = 64
MOST_WORDS = 15
"""The text encoders read 16 tokens; the last one is the end."""
TAG_SHARE = 0.10
NO_STYLE_SHARE = 0.12
ARTICLE_SHARE = 0.15
VARIANTS = ("plain", "background", "background", "colour", "both", "both")
VARIANTS_OF_PEOPLE = ("plain", "background", "background", "background")
"""Green people are a matter of taste; and 1,500 pictures more of them would crowd out the rest."""


@dataclass(frozen=True)
class Picture:
    """One training picture: a line of pictures.jsonl."""

    file: str
    hexcode: str
    label: str
    style: str
    group: int
    colour: str
    """Empty: its own."""
    background: str
    caption: str


def make_pictures(sources: Sources, folder: Path, seed: int = SEED) -> list[Picture]:
    """Write PNG and caption files: originals, variants and the palette apart, so that a job can give each its share."""
    for name in ("originals", "variants", "palette"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    every = training_emoji(sources)
    made = []
    for picture, image in chain(*(variants(emoji, seed) for emoji in every), palette(every, seed)):
        file = folder / picture.file
        image.save(file, optimize=False)
        file.with_suffix(".txt").write_text(picture.caption, encoding="utf-8")
        made.append(picture)
    lines = (json.dumps(asdict(picture), ensure_ascii=False) for picture in made)
    (folder / "pictures.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def read_pictures(folder: Path) -> list[Picture]:
    lines = (folder / "pictures.jsonl").read_text(encoding="utf-8").splitlines()
    return [Picture(**json.loads(line)) for line in lines]


def variants(emoji: Emoji, seed: int) -> Iterator[tuple[Picture, Image.Image]]:
    """The picture itself first, then its variants."""
    used: set[str] = set()
    for number, kind in enumerate(VARIANTS_OF_PEOPLE if emoji.group == PEOPLE else VARIANTS):
        rng = Random(f"{seed} {emoji.stem} {number}")
        colour = draw_colour(emoji, rng, used) if kind in ("colour", "both") else ""
        used.add(colour)
        object_ = cut_out(emoji, SIZE, PADDING if kind == "plain" else rng.uniform(0.03, 0.11))
        if colour:
            object_ = recoloured(object_, colour, rng)
        name, paper = ("white", Image.new("RGBA", object_.size, "white"))
        while kind in ("background", "both") and name in ("white", colour):
            name, paper = background(rng, SIZE)
        paper.alpha_composite(object_)
        file = f"{'variants' if number else 'originals'}/{emoji.stem}__{number}.png"
        caption = describe(emoji, colour, name, rng) if number else plain_name(emoji)
        shown = "" if name == "white" else name
        picture = Picture(file, emoji.hexcode, emoji.label, emoji.style, emoji.group, colour, shown, caption)
        yield picture, paper.convert("RGB")


def palette(every: list[Emoji], seed: int) -> Iterator[tuple[Picture, Image.Image]]:
    """Common things in every colour, as large as in the originals. Where a caption names no style, it is 3d."""
    for word, emoji, colour, number, rng in palette_draws(every, seed):
        object_ = recoloured(cut_out(emoji, SIZE), colour, rng)
        name, paper = ("white", Image.new("RGBA", object_.size, "white"))
        while number and name in ("white", colour):
            name, paper = background(rng, SIZE)
        paper.alpha_composite(object_)
        shown = "" if name == "white" else name
        plain = emoji.style == "3d" and rng.random() < 0.6
        subject = f"{article(colour)} {colour} {word}" if plain else f"a {emoji.style} emoji of {colour} {word}"
        place = f" on {article(name)} {name} background" if shown else ""
        file = f"palette/{emoji.stem}__{colour}_{number}.png"
        yield Picture(file, emoji.hexcode, emoji.label, emoji.style, emoji.group, colour, shown, subject + place), paper.convert("RGB")


def draw_colour(emoji: Emoji, rng: Random, used: set[str]) -> str:
    """A colour that is not the object's own by name, was not used for it yet, and is not kept out."""
    own = set(emoji.label.split())
    return rng.choice([c for c in OBJECT_COLOURS if c not in used | own and not is_kept_out(emoji.label, c)])


def plain_name(emoji: Emoji) -> str:
    """An original's caption: what its few repetitions have to teach is the name that people will ask for."""
    return shortened(f"a {emoji.style} emoji of {emoji.label}", "")


def describe(emoji: Emoji, colour: str, background_name: str, rng: Random) -> str:
    """The caption; object and colour stand early, so that a long one loses its end and not its sense."""
    label = emoji.label
    if emoji.tags and rng.random() < TAG_SHARE and not colour:
        label = rng.choice(emoji.tags)
    if colour:
        label = " ".join([colour, *(word for word in label.split() if word not in LABEL_COLOURS)])
    place = "" if background_name == "white" else f" on {article(background_name)} {background_name} background"
    draw = rng.random()
    if draw < NO_STYLE_SHARE:
        return shortened(f"{article(label)} {label}".strip(), place)
    if draw < NO_STYLE_SHARE + ARTICLE_SHARE:
        label = f"{article(label)} {label}".strip()
    return shortened(f"a {emoji.style} emoji of {label}", place)


def shortened(subject: str, place: str) -> str:
    """The two together, or with the subject's last words left out so that both are read."""
    room = MOST_WORDS - len(place.split())
    return " ".join(subject.split()[:room]) + place


def article(text: str) -> str:
    """Nothing before what looks like a plural."""
    if text.endswith("s") and not text.endswith(("ss", "us")):
        return ""
    return "an" if text[0] in "aeiou" else "a"
