"""Forty common things in every named colour: what the starter learns of colours apart from things.

A thing that is seen in one or two colours is learned as a picture of its own each time. One that is seen in eight, on ever other
backgrounds, is learned as a shape that takes any colour, and then also the one in which it was never seen (unseen.py). For all
1,600 things that would be more pictures than a processor can look at often enough; so it is done for those that unseen.py asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random

from .colours import OBJECT_COLOURS
from .emoji import Emoji
from .unseen import is_kept_out, unseen

BACKGROUNDS = 7
"""Pictures of each thing in each colour on a background that is drawn; one more is on white."""


def palette_things(emoji: list[Emoji]) -> dict[str, list[Emoji]]:
    """Word to the pictures of it, one a style: of the labels that contain the word, the shortest."""
    things = {}
    for word in (combination.object for combination in unseen()):
        label = min((e.label for e in emoji if word in e.label.split()), key=len)
        things[word] = [e for e in emoji if e.label == label]
    return things


def palette_draws(emoji: list[Emoji], seed: int) -> Iterator[tuple[str, Emoji, str, int, Random]]:
    """Word, picture, colour, number and the randomness of each picture that is to be made; number 0 stands on white."""
    for word, pictures in palette_things(emoji).items():
        for picture, colour, number in product(pictures, OBJECT_COLOURS, range(1 + BACKGROUNDS)):
            if colour not in picture.label.split() and not is_kept_out(picture.label, colour):
                yield word, picture, colour, number, Random(f"{seed} palette {picture.stem} {colour} {number}")
