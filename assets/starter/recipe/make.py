"""The starter from nothing: python assets/starter/recipe/make.py all --work FOLDER. Each step can be run alone.

fetch the packages · make the pictures · a blank pipeline · train its VAE · train the rest · measure; then, only when asked for,
publish it as assets/starter · write assets/examples. A step that was interrupted is run again: trainings continue from their last
state.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: two waiting threads would fight for a core

RECIPE = Path(__file__).resolve().parent
ROOT = RECIPE.parents[2]
sys.path[:0] = [str(RECIPE.parent), str(ROOT)]

from recipe.sources import Sources  # noqa: E402


def fetch(work: Path) -> None:
    from recipe import sources

    print("\n".join(sources.fetch(Sources(work))))


def pictures(work: Path) -> None:
    from recipe.pictures import make_pictures

    made = make_pictures(Sources(work), work / "pictures")
    print(f"{len(made)} pictures, {sum(not picture.colour and not picture.background for picture in made)} of them originals")


def blank(work: Path) -> None:
    from recipe.blank import make_blank

    make_blank(Sources(work), work / "pictures", work / "blank")


def vae(work: Path) -> None:
    run_job("vae", work)


def train(work: Path) -> None:
    from recipe.blank import with_vae

    with_vae(work / "blank", work / "runs" / "starter_vae" / "starter_vae")
    import torch

    # on a processor in bf16, for 80 tokens, the plain kernel is three times as fast as the fused one: a fifth of a step
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    run_job("train", work)


def measure(work: Path, model: Path | None = None) -> None:
    """Score a pipeline folder: the one given, else what the training made."""
    import json

    from recipe.measure import measure_starter

    folder = model or work / "runs" / "starter" / "starter"
    figures = measure_starter(folder, Sources(work), work / "pictures", work / "measure" / folder.name)
    print(json.dumps(figures, indent=1))


def examples(work: Path) -> None:
    from recipe.examples import make_examples

    make_examples(Sources(work), ROOT / "assets" / "examples")


def publish(work: Path) -> None:
    """Put what the training made in the place of the present starter; its notes and recipe stay."""
    import shutil

    made = work / "runs" / "starter" / "starter"
    for part in (path for path in made.iterdir() if path.name != "darkroom.json"):
        target = ROOT / "assets" / "starter" / part.name
        if part.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(part, target)
        else:
            shutil.copyfile(part, target)


def run_job(name: str, work: Path) -> None:
    """Run the recipe's job of that name under the work folder, from its last state if it has one. Asked to end, it saves first."""
    from engine.control import Control
    from engine.events import Failed, Finished, Progress, Step, describe
    from engine.execute import execute
    from engine.jobs import load_job
    from engine.jobs.load import read_yaml
    from engine.running import stopping
    from engine.runs.folder import RunFolder

    os.environ["DARKROOM_HOME"] = str(work)  # caches belong to the recipe, not to the person's app
    text = (RECIPE / f"{name}.yaml").read_text(encoding="utf-8").replace("WORK", work.as_posix())
    job = load_job(read_yaml(text))
    folder = RunFolder.create(work / "runs", job, exist_ok=True)
    control = Control(if_changed="go on")  # who edits a recipe means it
    with stopping(control):
        for event in execute(job, folder, control):
            folder.append(event)
            count = event.step if isinstance(event, Step) else event.done // 20 if isinstance(event, Progress) else 0
            if count % 50 == 0:
                print(describe(event), flush=True)
            if isinstance(event, Failed) or (isinstance(event, Finished) and event.reason == "stopped"):
                raise SystemExit(1)  # what comes after it is for a whole training


STEPS: dict[str, Callable[[Path], None]] = {
    "fetch": fetch, "pictures": pictures, "blank": blank, "vae": vae, "train": train, "measure": measure,
    "publish": publish, "examples": examples,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=[*STEPS, "all"])
    parser.add_argument("--model", type=Path, help="measure: another pipeline than the trained one, for example a checkpoint")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is fetched and made; about 1 GB")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if arguments.step == "measure":
        measure(work, arguments.model)
        return
    unasked = ("publish", "examples")  # they write into the repository
    for name in [step for step in STEPS if step not in unasked] if arguments.step == "all" else [arguments.step]:
        STEPS[name](work)


if __name__ == "__main__":
    main()
