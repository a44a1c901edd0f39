"""Trains in children that are killed at random moments, and looks after each whether everything under a final name is whole. Run by test_kill.py and
benchmarks/kill.py.

    python kill_driver.py JOB.yaml ROOT KILLS [SEED [SECONDS [WHOLE]]]

0 kills: once, to the end. SECONDS: the longest life. WHOLE: the folder of the same run that nobody killed; one that ends before the last kill, and that
after it, must have the same files, byte for byte, and is begun again.

torch is imported once; each attempt is a fork, which is safe because nothing has started a thread.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import engine.families.flux  # noqa: E402, F401 - all imports before the first fork
import engine.training.trainer  # noqa: E402, F401
from engine.control import Control  # noqa: E402
from engine.execute import execute  # noqa: E402
from engine.jobs import load_job  # noqa: E402
from engine.runs.folder import RunFolder  # noqa: E402

torch.set_num_threads(1)


def attempt(job_file: Path, root: Path) -> None:
    job = load_job(job_file)
    folder = RunFolder.create(root, job, exist_ok=True)
    for event in execute(job, folder, Control()):
        folder.append(event)
    if event.kind == "failed":
        os.write(2, event.model_dump_json().encode())
    os._exit(0 if event.kind == "finished" else 1)


def check_whole(folder: Path) -> None:
    """Everything under a final name can be read; ends this program where something cannot."""
    for path in [*folder.rglob("*.safetensors"), *folder.glob("samples/[0-9]*")]:
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        try:
            load_file(path) if path.suffix == ".safetensors" else Image.open(path).load()
        except Exception as error:
            raise SystemExit(f"{path} is broken: {error}") from error


def check_same(one: Path, other: Path) -> None:
    """Weights, states and samples are the same in both, byte for byte; ends this program where some are not."""
    found: dict[str, list[bytes]] = {}
    for root in (one, other):
        for path in (path for path in root.rglob("*") if path.is_file() and path.suffix in (".safetensors", ".json", ".jpg")):
            found.setdefault(path.relative_to(root).as_posix(), []).append(path.read_bytes())
    if names := sorted(name for name, contents in found.items() if len(contents) != 2 or contents[0] != contents[1]):
        raise SystemExit(f"Not the same as never killed: {', '.join(names)}")
    print(f"same as never killed: {len(found)} files", flush=True)


def to_the_end(job_file: Path, root: Path) -> None:
    if (child := os.fork()) == 0:
        attempt(job_file, root)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    check_whole(root / "tiny")


def main() -> None:
    job_file, root, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(kills + int([*sys.argv[4:5], 0][0]))
    longest = float([*sys.argv[5:6], 0.8][0])  # seconds: about a third goes into loading, so kills land there too
    whole = Path(sys.argv[6]) if sys.argv[6:] else None
    if kills == 0:
        to_the_end(job_file, root)
    done = 0
    while done < kills:
        if (child := os.fork()) == 0:
            attempt(job_file, root)
        started = time.monotonic()
        deadline = started + rng.uniform(0.02, longest)
        while time.monotonic() < deadline and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.002)
        alive = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if not alive and os.waitstatus_to_exitcode(status):
            raise SystemExit("a training failed")
        check_whole(root / "tiny")
        if not alive:
            print("ended early", flush=True)
            if whole is None:
                return
            check_same(whole, root / "tiny")
            shutil.rmtree(root / "tiny")
            continue
        done += 1
        print("killed", flush=True)
    if whole is not None:
        to_the_end(job_file, root)
        check_same(whole, root / "tiny")


main()
