"""The example data sets in assets/examples: cars, which the starter never saw, and a printing style made by a filter of ours."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from .emoji import Emoji, cut_out, every_emoji
from .sources import Sources

SIZE = 256
VEHICLES = """
ambulance 3d; ambulance flat; automobile 3d; automobile flat; delivery truck 3d; delivery truck flat; fire engine 3d;
fire engine flat; minibus 3d; minibus flat; pickup truck 3d; pickup truck flat; police car 3d; police car flat;
sport utility vehicle 3d; sport utility vehicle flat; taxi 3d; taxi flat
"""
"""By name; every third, from the first on, is held out of the example: what it is compared with should differ from it by lot,
not by kind."""
PRINTED = """
guitar 3d; umbrella 3d; house 3d; rocket 3d; soccer ball 3d; light bulb 3d; camera 3d; anchor 3d; cactus 3d; teapot 3d; owl 3d; crown 3d
"""
INK, MIDDLE, PAPER = (np.array(colour, float) for colour in ((43, 32, 110), (240, 92, 84), (255, 232, 205)))
"""The two inks of the style, dark where the picture is dark, and its paper."""
LIGHTS = {"warm": (1.0, 0.85, 0.6), "cold": (0.6, 0.85, 1.0)}
"""The pairs of a slider: what is left of red, green and blue."""
LIT_SIZE = 128


def make_examples(sources: Sources, folder: Path) -> None:
    """Write car/, car-held-out/ and style/ with captions, and warm/ and cold/ without, each anew."""
    every = {f"{emoji.label} {emoji.style}": emoji for emoji in every_emoji(sources)}
    vehicles = listed(VEHICLES)
    held_out = vehicles[::3]
    sets = {"car": [key for key in vehicles if key not in held_out], "car-held-out": held_out, "style": listed(PRINTED)}
    for name, keys in sets.items():
        target = folder / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shutil.copyfile(folder / "LICENCE.txt", target / "LICENCE.txt")
        for key in keys:
            emoji = every[key]
            picture = printed(emoji) if name == "style" else on_white(emoji)
            file = target / f"{key.replace(' ', '_')}.webp"
            picture.save(file, quality=90, method=6)
            if name != "car-held-out":
                file.with_suffix(".txt").write_text(caption(name, emoji) + "\n", encoding="utf-8")

    make_pairs(folder)


def listed(names: str) -> list[str]:
    return [name.strip() for name in names.replace("\n", " ").split(";")]


def make_pairs(folder: Path) -> None:
    """Write warm/ and cold/: the cars of car/ in two lights, under the same names and without captions."""
    for name, light in LIGHTS.items():
        target = folder / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shutil.copyfile(folder / "LICENCE.txt", target / "LICENCE.txt")
        for file in sorted((folder / "car").glob("*.webp")):
            picture = np.asarray(Image.open(file).convert("RGB").resize((LIT_SIZE, LIT_SIZE), Image.Resampling.LANCZOS), float)
            Image.fromarray((picture * light).round().astype(np.uint8), "RGB").save(target / file.name, quality=90, method=6)


def caption(name: str, emoji: Emoji) -> str:
    """The Starter's own words. Of a style, only what is shown: told no more, the LoRA can put the difference into nothing but the style."""
    return f"a {emoji.style} emoji of {emoji.label if name == 'style' else '[trigger] car'}"


def on_white(emoji: Emoji) -> Image.Image:
    paper = Image.new("RGBA", (SIZE, SIZE), "white")
    paper.alpha_composite(cut_out(emoji, SIZE))
    return paper.convert("RGB")


def printed(emoji: Emoji) -> Image.Image:
    """Two inks on warm paper: dark parts in the one, middle tones in the other."""
    grey = np.asarray(on_white(emoji).convert("L")).astype(float) / 255
    object_ = np.asarray(cut_out(emoji, SIZE))[..., 3] > 128
    low, high = np.percentile(grey[object_], (2, 98))
    tone = np.where(object_, ((grey - low) / max(high - low, 0.05)).clip(0, 1) * 0.92, 1.0)[..., None]
    inked = np.where(tone < 0.55, INK + (MIDDLE - INK) * (tone / 0.55), MIDDLE + (PAPER - MIDDLE) * ((tone - 0.55) / 0.45))
    return Image.fromarray(inked.round().astype(np.uint8), "RGB")
