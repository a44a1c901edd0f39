"""The starter's score, with stock diffusers: does it draw what its captions say, and combine what it never saw combined?

python assets/starter/recipe/make.py measure --work FOLDER [--model FOLDER]. Every draw is fixed. What is counted:

label       100 captions of originals, drawn by lot. Hit: of all originals of both styles, the one nearest to the picture (distance
            of VAE latents) carries the caption's label. Originals that are the same picture under two names count as one label.
label_net   The same with the cosine of an independent network's features (EfficientNet-Lite0) as nearness.
style       The nearest original of ``label`` is drawn in the style that the caption asks for.
unseen      40 combinations of an object, a colour and a background; no picture of the data shows the object in that colour.
            object: the word is in the label of the nearest original, both without background and colour (grey, evenly spread on
            white; distance of VAE latents as for label). colour: the commonest colour name among the object's coloured pixels.
            background: the name of the median of the outermost pixels. ``shown`` is all three.
object_net  The same with the 3 nearest by EfficientNet: it knows photos of 224 pixels, and few of soft drawings of 64.
ceiling     ``unseen`` measured on pictures made by the recipe's own recolouring: what a perfect model would reach.
shuffled    ``object`` of each picture asked for another combination's word: what the measure gives for nothing.
guidance    ``label`` at guidance 3 against guidance 1.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxPipeline
from PIL import Image, ImageDraw
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .colours import HUES, background, recoloured
from .emoji import cut_out, training_emoji
from .features import EfficientNet, as_batch, colour_names, grey_object, object_mask, paper_colour
from .pictures import Picture, read_pictures
from .sources import Sources
from .unseen import Combination, unseen

SEED = 7
CAPTIONS = 100
SAME_PICTURE = 0.02
"""Mean difference of pixels, in [-1, 1], under which two originals are one picture under two names."""
NEAREST = 3


def measure_starter(model: Path, sources: Sources, pictures: Path, out: Path) -> dict[str, float]:
    """Measure, write measure.json and contact sheets into ``out``, and return the figures."""
    out.mkdir(parents=True, exist_ok=True)
    pipeline = FluxPipeline.from_pretrained(model, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    wants = json.loads((model / "darkroom.json").read_text(encoding="utf-8"))
    net = EfficientNet.load(sources.measuring_weights)
    originals = [p for p in read_pictures(pictures) if not p.colour and not p.background]
    shown = [Image.open(pictures / p.file).convert("RGB") for p in originals]

    asked = Random(SEED).sample(range(len(originals)), CAPTIONS)
    prompts = [f"a {originals[i].style} emoji of {originals[i].label}" for i in asked]
    drawn = draw(pipeline, wants, prompts)
    unguided = draw(pipeline, wants, prompts, guidance=1.0)
    near = nearest(latents(pipeline.vae, drawn), latents(pipeline.vae, shown))
    far = nearest(latents(pipeline.vae, unguided), latents(pipeline.vae, shown))
    seen = remembered(out.parent / "features.safetensors", shown, net)
    near_net = (net(drawn) @ seen["colour"].T).argmax(1).tolist()
    hit = [is_label(originals, shown, i, n) for i, n in zip(asked, near, strict=True)]

    combinations = unseen()
    combined = draw(pipeline, wants, [c.prompt for c in combinations])
    grey = latents(pipeline.vae, [grey_object(picture) for picture in shown])

    def looks_like(drawings: list[Image.Image]) -> list[set[str]]:
        """The words of the original that each is nearest to, apart from colours."""
        found = nearest(latents(pipeline.vae, [grey_object(drawing) for drawing in drawings]), grey)
        return [set(originals[i].label.split()) for i in found]

    like = looks_like(combined)
    verdicts = [judge(*each) for each in zip(combinations, combined, like, strict=True)]
    ideal = ideal_pictures(combinations, sources)
    ceiling = [judge(*each) for each in zip(combinations, ideal, looks_like(ideal), strict=True)]
    by_net = (net([grey_object(picture) for picture in combined]) @ seen["grey"].T).topk(NEAREST).indices.tolist()
    like_net = [{word for i in order for word in originals[i].label.split()} for order in by_net]

    figures: dict[str, float] = {
        "label": mean(hit),
        "label_net": mean([is_label(originals, shown, i, n) for i, n in zip(asked, near_net, strict=True)]),
        "style": mean([originals[i].style == originals[n].style for i, n in zip(asked, near, strict=True)]),
        "label_at_guidance_1": mean([is_label(originals, shown, i, n) for i, n in zip(asked, far, strict=True)]),
        "unseen_shown": mean([all(v.values()) for v in verdicts]),
        **{f"unseen_{part}": mean([v[part] for v in verdicts]) for part in verdicts[0]},
        "ceiling_shown": mean([all(v.values()) for v in ceiling]),
        "unseen_object_net": mean([c.object in words for c, words in zip(combinations, like_net, strict=True)]),
        "unseen_object_shuffled": mean([c.object in words for c, words in zip(combinations, like[1:] + like[:1], strict=True)]),
        **{f"ceiling_{part}": mean([v[part] for v in ceiling]) for part in ceiling[0]},
    }
    sheet(drawn, 10, [("" if ok else "x") + p.split("of ", 1)[1] for ok, p in zip(hit, prompts, strict=True)]).save(
        out / "captions.jpg", quality=82
    )
    marks = ["".join(part[0] if ok else "-" for part, ok in v.items()) for v in verdicts]
    under = [f"{m} {c.colour} {c.object}/{c.background}" for m, c in zip(marks, combinations, strict=True)]
    sheet(combined, 8, under).save(out / "unseen.jpg", quality=82)
    sheet([p for pair in zip(drawn[:12], unguided[:12], strict=True) for p in pair], 8, ["3", "1"] * 12).save(
        out / "guidance.jpg", quality=82
    )
    (out / "measure.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def draw(pipeline: FluxPipeline, wants: dict[str, int], prompts: list[str], guidance: float | None = None) -> list[Image.Image]:
    """One picture a prompt; the first has seed SEED, the next SEED + 1."""
    scale = wants["guidance_scale"] if guidance is None else guidance
    made: list[Image.Image] = []
    for start in range(0, len(prompts), 20):
        batch = prompts[start : start + 20]
        made += pipeline(
            batch,
            negative_prompt=[""] * len(batch) if scale > 1 else None,
            true_cfg_scale=scale,
            width=wants["width"],
            height=wants["height"],
            num_inference_steps=wants["sample_steps"],
            max_sequence_length=wants["max_sequence_length"],
            generator=[torch.Generator().manual_seed(SEED + start + i) for i in range(len(batch))],
        ).images
    return made


def remembered(file: Path, shown: list[Image.Image], net: EfficientNet) -> dict[str, Tensor]:
    """Features of the originals, with and without colour. They take minutes, so they are kept from one measurement to the next."""
    digest = hashlib.sha256(b"".join(picture.tobytes() for picture in shown)).hexdigest()
    if file.exists():
        with safe_open(file, "pt") as kept:
            if (kept.metadata() or {}).get("pictures") == digest:
                return {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118 - not a dict
    features = {"colour": net(shown), "grey": net([grey_object(picture) for picture in shown])}
    save_file(features, file, {"pictures": digest})
    return features


@torch.no_grad()
def latents(vae: AutoencoderKL, pictures: list[Image.Image]) -> Tensor:
    parts = [vae.encode(as_batch(pictures[i : i + 64])).latent_dist.mean.flatten(1) for i in range(0, len(pictures), 64)]
    return torch.cat(parts)


def nearest(queries: Tensor, candidates: Tensor) -> list[int]:
    return torch.cdist(queries, candidates).argmin(1).tolist()


def is_label(originals: list[Picture], shown: list[Image.Image], asked: int, found: int) -> bool:
    """Whether the found original carries the asked one's label, or is the same picture under another name."""
    if originals[asked].label == originals[found].label:
        return True
    one, other = as_batch([shown[asked], shown[found]])
    return (one - other).abs().mean().item() < SAME_PICTURE


def judge(wanted: Combination, picture: Image.Image, like: set[str]) -> dict[str, bool]:
    """Which parts of the combination the picture shows; ``like``: the words of what it looks like."""
    return {
        "object": wanted.object in like,
        "colour": object_colour(picture) == wanted.colour,
        "background": paper_name(picture) in (wanted.background, wanted.background.removeprefix("light ")),
    }


def object_colour(picture: Image.Image) -> str:
    """The commonest colour name of the object's pixels; greys and dark outlines do not count."""
    pixels = np.asarray(picture.convert("RGB"))[object_mask(picture)]
    names = Counter(name for name in colour_names(pixels) if name in HUES or name == "brown")
    return names.most_common(1)[0][0] if names else ""


def paper_name(picture: Image.Image) -> str:
    return colour_names(paper_colour(picture)[None])[0]


def ideal_pictures(combinations: list[Combination], sources: Sources) -> list[Image.Image]:
    """The combinations as the recipe itself would have made them."""
    every = training_emoji(sources)
    made = []
    for number, wanted in enumerate(combinations):
        emoji = min((e for e in every if wanted.object in e.label.split()), key=lambda e: len(e.label))
        rng = Random(number)
        name, paper = "", None
        while name != wanted.background:
            name, paper = background(rng, 64)
        paper.alpha_composite(recoloured(cut_out(emoji, 64), wanted.colour, rng))
        made.append(paper.convert("RGB"))
    return made


def sheet(pictures: list[Image.Image], columns: int, words: list[str], scale: int = 2) -> Image.Image:
    """A contact sheet with a line of words under each picture."""
    width, height = pictures[0].width * scale + 4, pictures[0].height * scale + 14
    paper = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height), "white")
    pen = ImageDraw.Draw(paper)
    for number, (picture, text) in enumerate(zip(pictures, words, strict=True)):
        left, top = number % columns * width, number // columns * height
        paper.paste(picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.LANCZOS), (left, top))
        pen.text((left + 2, top + picture.height * scale), text[:21], fill="black")
    return paper


def mean(values: list[bool]) -> float:
    return round(sum(values) / len(values), 3)
