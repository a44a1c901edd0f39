"""SIGKILL at any moment loses at most the steps since the last save, and breaks nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.jobs import dump_job

KILLS, KILLS_AT_ONCE = 30, 10
DRIVER = Path(__file__).resolve().parents[2] / "kill_driver.py"


def drive(job_file: Path, root: Path, kills: int) -> list[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(job_file), str(root), str(kills)],
        env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [*done.stdout.split("\n"), done.stderr[-2000:]]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_thirty_times_ends_in_the_same_bytes_as_never(make_job, tmp_path):
    job_file = tmp_path / "job.yaml"
    job = make_job(
        train={
            "steps": 400,
            "lr": 1e-3,
            "batch_size": 2,
            "optimizer": "adamw",
            "ema_config": {"use_ema": True},
        },
        save={"save_every": 4, "max_step_saves_to_keep": 3, "dtype": "fp32"},
        sample={"sample_every": 150, "prompts": ["[trigger] at dawn"]},
    )
    job_file.write_text(dump_job(job))
    assert "ended 0" in drive(job_file, tmp_path / "whole", 0)
    root = tmp_path / "killed"
    for _ in range(KILLS // KILLS_AT_ONCE):
        lines = drive(job_file, root, KILLS_AT_ONCE)  # after each, it looks at every file under a final name
        assert lines.count("killed") == KILLS_AT_ONCE, lines
    assert "ended 0" in drive(job_file, root, 0)
    for name in (
        "tiny.safetensors",
        "state/000000400/optimizer.safetensors",
        "state/000000400/ema.safetensors",
    ):
        assert (root / "tiny" / name).read_bytes() == (tmp_path / "whole" / "tiny" / name).read_bytes(), name
    assert not list((root / "tiny").rglob(".*")), "leftovers of killed saves are swept away"
