"""Kills a tiny training at random moments, very often: python benchmarks/kill.py --kills 300

Each time it is continued; in the end its files are those of a training that nobody killed, byte for byte. tests do 30 of them
(tests/engine/training/test_kill.py). A child lives up to three times as long as one needs to its first checkpoint on this computer.
Stops at the first thing under a final name that is not whole. Needs os.fork: Linux or macOS.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}

import tiny  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from engine.events import Saved  # noqa: E402
from engine.jobs import dump_job, load_job  # noqa: E402
from engine.runs.folder import RunFolder  # noqa: E402
from engine.runs.log import follow  # noqa: E402
from engine.runs.points import last_point  # noqa: E402

AT_ONCE = 10
"""Kills of one driver, which imports torch once."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--steps", type=int, default=200, help="of the training; one that is done before the last kill is compared, and begun again")
    parser.add_argument("--seed", type=int, default=0, help="another one kills at other moments")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["DARKROOM_HOME"] = place
        work = Path(place)
        job_file = work / "job.yaml"
        job_file.write_text(dump_job(load_job(job_of(work, args.steps))), encoding="utf-8")
        begun = time.monotonic()
        drive(job_file, work / "whole", 0, args.seed)
        longest = 3 * seconds_to_first_save(work / "whole" / "tiny")
        folder, killed = RunFolder(work / "killed" / "tiny"), 0
        while killed < args.kills:
            lines = drive(job_file, work / "killed", min(AT_ONCE, args.kills - killed), args.seed + killed, longest)
            killed += lines.count("killed")
            check_whole(folder)
            print(f"{killed:4} of {args.kills} kills, at step {last_point(folder):5} of {args.steps}, {time.monotonic() - begun:6.0f} s", flush=True)
            if "ended early" in lines or killed >= args.kills:
                drive(job_file, work / "killed", 0, args.seed)
                check_whole(folder)
                if names := differences(work / "whole" / "tiny", folder.path):
                    raise SystemExit(f"Not the same as never killed: {', '.join(names)}")
                print("     its files are as if there had been no kill", flush=True)
                shutil.rmtree(work / "killed")


def job_of(work: Path, steps: int) -> dict[str, object]:
    """A FLUX of random weights, a LoRA, an average, six pictures; nearly all of its time is in saving and loading."""
    pictures = work / "pictures"
    pictures.mkdir()
    for index, colour in enumerate(["red", "green", "blue", "orange", "purple", "black"]):
        Image.new("RGB", (64, 64) if index < 4 else (96, 48), colour).save(pictures / f"{index}.png")
        (pictures / f"{index}.txt").write_text(f"a {colour} field", encoding="utf-8")
    return {
        "name": "tiny",
        "model": {"name_or_path": str(tiny.save(tiny.flux(), work / "base"))},
        "network": {"type": "lora", "rank": 4},
        "datasets": [{"path": str(pictures), "caption_dropout_rate": 0.3}],
        "train": {"steps": steps, "lr": 1e-3, "batch_size": 2, "optimizer": "adamw", "ema_config": {"use_ema": True}},
        "sample": {"sample_every": 150, "prompts": ["a field at dawn"]},
        "save": {"save_every": 4, "max_step_saves_to_keep": 3, "max_states_to_keep": 2, "dtype": "fp32"},
    }


def seconds_to_first_save(path: Path) -> float:
    events, _ = follow(RunFolder(path).events)
    return next(event.time for event in events if isinstance(event, Saved)) - events[0].time


def drive(job_file: Path, root: Path, kills: int, seed: int, longest: float = 0.8) -> list[str]:
    """What tests/kill_driver.py says: a line for each kill, or how the training ended where there is none."""
    command = [sys.executable, str(ROOT / "tests" / "kill_driver.py"), str(job_file), str(root), str(kills), str(seed), str(longest)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or (kills == 0 and "ended 0" not in done.stdout):
        raise SystemExit(f"The training failed: {done.stdout[-500:]} {done.stderr[-3000:]}")
    return done.stdout.splitlines()


def check_whole(folder: RunFolder) -> None:
    """Everything under a final name can be read."""
    for path in folder.path.rglob("*.safetensors"):
        if not any(part.startswith(".") for part in path.relative_to(folder.path).parts):
            load_file(path)
    for sample in folder.list_samples():
        Image.open(sample.path).load()


def differences(one: Path, other: Path) -> list[str]:
    """Weights, states and samples that are not the same in both, or in only one."""
    found = {}
    for root in (one, other):
        for path in (path for path in root.rglob("*") if path.is_file() and path.suffix in (".safetensors", ".json", ".jpg")):
            found.setdefault(path.relative_to(root).as_posix(), []).append(path.read_bytes())
    return sorted(name for name, contents in found.items() if len(contents) != 2 or contents[0] != contents[1])


if __name__ == "__main__":
    main()
