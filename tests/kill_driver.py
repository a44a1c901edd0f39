"""Trains in children that are killed at random moments, and prints what each left behind. Run by test_kill.py and benchmarks/kill.py.

    python kill_driver.py JOB.yaml ROOT KILLS [SEED [SECONDS]]       (0 kills: once, to the end; SECONDS: the longest life)

torch is imported once; each attempt is a fork, which is safe because nothing has started a thread.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

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


def main() -> None:
    job_file, root, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(kills + int([*sys.argv[4:5], 0][0]))
    longest = float([*sys.argv[5:6], 0.8][0])  # seconds: about a third goes into loading, so kills land there too
    if kills == 0:
        if (child := os.fork()) == 0:
            attempt(job_file, root)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    for _ in range(kills):
        if (child := os.fork()) == 0:
            attempt(job_file, root)
        started = time.monotonic()
        deadline = started + rng.uniform(0.02, longest)
        while time.monotonic() < deadline and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.002)
        alive = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if not alive:
            print("ended early", flush=True)
            return
        print("killed", flush=True)


main()
