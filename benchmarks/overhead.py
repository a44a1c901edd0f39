"""What the trainer costs over the arithmetic itself: its steps against a bare forward, backward and optimizer step.

    python benchmarks/overhead.py [--steps 5] [--rounds 30]

Both do the same on the same data: the starter, a LoRA of rank 8, batch 8. Short blocks of steps of either kind alternate,
so that a slow moment of the machine hits both; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # noqa: E402

from engine.control import Control  # noqa: E402
from engine.jobs import load_job  # noqa: E402
from engine.runs.changes import Changes  # noqa: E402
from engine.runs.checkpoints import CheckpointStore  # noqa: E402
from engine.runs.folder import RunFolder  # noqa: E402
from engine.training.learner import Learner  # noqa: E402
from engine.training.prepare import prepare  # noqa: E402
from engine.training.trainer import loop  # noqa: E402


def finish(generator):
    """The value that a generator returns."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="steps in a block")
    parser.add_argument("--rounds", type=int, default=30, help="blocks of each kind")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["DARKROOM_HOME"] = place
        job = load_job(ROOT / "presets" / "train" / "starter_lora_cpu.yaml")
        job = job.model_copy(
            update={
                "train": job.train.model_copy(update={"steps": 10**6}),
                "sample": job.sample.model_copy(update={"sample_every": None}),
                "save": job.save.model_copy(update={"save_every": None}),
            }
        )
        folder = RunFolder.create(Path(place) / "output", job)
        bench = finish(prepare(job, Control()))
        learner = Learner(job, bench)
        events = loop(Changes(job, (), (), 0), bench, learner, folder, CheckpointStore(folder, 1, 1), Control())
        seconds: dict[str, list[float]] = {"trainer": [], "bare": []}
        for _ in range(args.rounds + 1):  # the first round warms up
            seconds["trainer"].append(timed(lambda: trained(events, folder, args.steps)))
            seconds["bare"].append(timed(lambda: bare(learner, args.steps)))
        medians = {kind: statistics.median(times[1:]) / args.steps for kind, times in seconds.items()}
        for kind, value in medians.items():
            print(f"{kind:8} {1000 * value:8.1f} ms a step")
        print(f"overhead {100 * (medians['trainer'] / medians['bare'] - 1):+8.1f} %")


def timed(block) -> float:
    start = time.perf_counter()
    block()
    return time.perf_counter() - start


def trained(events, folder: RunFolder, steps: int) -> None:
    """Steps as a run makes them, each written to the log."""
    for event in itertools.islice((e for e in events if not folder.append(e) and e.kind == "step"), steps):
        assert event.kind == "step"


def bare(learner: Learner, steps: int) -> None:
    """The same arithmetic, written out: one fixed batch, the same model, the same optimizer."""
    bench = learner.bench
    data = bench.batch(0)
    clean = data.mean
    for _ in range(steps):
        noise = torch.randn_like(clean)
        sigma = torch.sigmoid(torch.randn(len(clean)))
        level = sigma.view(-1, 1, 1, 1)
        predicted = bench.family.predict((1 - level) * clean + level * noise, sigma, data.cond)
        loss = (predicted - (noise - clean)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters, 1.0)
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)


if __name__ == "__main__":
    main()
