"""Kills a tiny training at random moments, very often: python benchmarks/kill.py --kills 300

Each time it is continued; whenever it comes to its end, and after the last kill, its files are those of a training that nobody killed, byte for byte, and
it is begun again. After each kill, everything under a final name must be whole. tests do 30 of them (tests/engine/training/test_kill.py). A child lives
up to twice as long as a new one needed to its first checkpoint on this computer (--life), so that kills come while it loads, learns, saves and draws: on
a computer that is busy by then, most come while it loads. Needs os.fork: Linux or macOS.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}

import tiny  # noqa: E402
from PIL import Image  # noqa: E402

from engine.events import Saved  # noqa: E402
from engine.jobs import dump_job, load_job  # noqa: E402
from engine.runs.folder import RunFolder  # noqa: E402
from engine.runs.log import follow  # noqa: E402
from engine.runs.points import last_point  # noqa: E402

TELL = 20
"""Kills between lines."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument(
        "--steps", type=int, default=200, help="of the training; one that is done before the last kill is compared, and begun again"
    )
    parser.add_argument("--seed", type=int, default=0, help="another one kills at other moments")
    parser.add_argument(
        "--life", type=float, default=2.0, help="the longest life of a child, in times from its start to its first checkpoint"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["DARKROOM_HOME"] = place
        work = Path(place)
        job_file = work / "job.yaml"
        job_file.write_text(dump_job(load_job(job_of(work, args.steps))), encoding="utf-8")
        begun = time.monotonic()
        for _ in drive(job_file, work / "whole", 0, args.seed):
            pass
        longest = args.life * seconds_to_first_save(work / "whole" / "tiny")
        print(f"never killed: {time.monotonic() - begun:.0f} s; children live up to {longest:.1f} s", flush=True)
        killed = compared = 0
        folder = RunFolder(work / "killed" / "tiny")
        for line in drive(job_file, work / "killed", args.kills, args.seed, longest, work / "whole" / "tiny"):
            killed, compared = killed + (line == "killed"), compared + line.startswith("same as never killed")
            if line == "killed" and (killed % TELL == 0 or killed == args.kills):
                print(
                    f"{killed:4} of {args.kills} kills, {compared} trainings ended the same, this one is at step {last_point(folder) if folder.state.exists() else 0}, {time.monotonic() - begun:6.0f} s",
                    flush=True,
                )
        print(
            f"{killed} kills, nothing broken; {compared} trainings ended with the bytes of one that nobody killed; {time.monotonic() - begun:.0f} s",
            flush=True,
        )


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


def drive(job_file: Path, root: Path, kills: int, seed: int, longest: float = 0.8, *whole: Path) -> Iterator[str]:
    """The lines that tests/kill_driver.py says, as they come: one for each kill, and how trainings ended."""
    command = [sys.executable, str(ROOT / "tests" / "kill_driver.py"), *map(str, (job_file, root, kills, seed, longest, *whole))]
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as driver:
        assert driver.stdout
        lines = []
        for line in driver.stdout:
            lines.append(line.strip())
            yield lines[-1]
        if driver.wait() or ("ended 0" not in lines):
            said.seek(0)
            raise SystemExit(f"The training failed: {lines[-5:]} {said.read()[-3000:]}")


if __name__ == "__main__":
    main()
