"""Forty combinations that the recipe keeps out of the data, to see whether the starter can combine.

Kept out is more than the combination: no picture shows the object in that colour on any background, in any style.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Combination:
    """An object in a colour on a background, none of which is its own."""

    object: str
    colour: str
    background: str

    @property
    def prompt(self) -> str:
        article = "an" if self.background[0] in "aeiou" else "a"
        return f"a {self.colour} {self.object} on {article} {self.background} background"


_LIST = """
apple purple dark; banana blue yellow; strawberry green pink; pineapple red blue; carrot purple green; lemon pink dark;
pear blue orange; peach green purple; tomato blue light yellow; avocado orange blue; mushroom blue yellow; hamburger green red;
pizza purple yellow; doughnut blue dark; cupcake red green; cookie green blue; cat purple orange; dog blue green;
frog pink blue; panda green pink; fox blue light pink; lion purple green; octopus green dark; butterfly red yellow;
fish purple light green; penguin orange blue; turtle red light blue; owl blue orange; rose blue yellow; tulip purple dark;
sunflower pink blue; balloon green purple; umbrella yellow blue; guitar green dark; rocket green orange; star purple light yellow;
bell blue pink; key red green; book pink dark; crown green red
"""


def unseen() -> list[Combination]:
    entries = [entry.split() for entry in _LIST.replace("\n", " ").split(";")]
    return [Combination(parts[0], parts[1], " ".join(parts[2:])) for parts in entries]


def is_kept_out(label: str, colour: str) -> bool:
    """Whether a picture of ``label`` in ``colour`` would show one of the combinations' objects in its colour."""
    present = label.split()
    return any(c.colour == colour and c.object in present for c in unseen())
