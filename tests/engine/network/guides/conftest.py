"""Four pictures with control pictures, and jobs that train an adapter on them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

from engine.jobs import load_job


def data(folder: Path) -> dict[str, Any]:
    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index, colour in enumerate(["red", "green", "blue", "black"]):
        Image.new("RGB", (64, 64), colour).save(folder / "pictures" / f"{index}.png")
        (folder / "pictures" / f"{index}.txt").write_text(colour)
    shutil.copytree(folder / "pictures", folder / "controls", ignore=shutil.ignore_patterns("*.txt"))
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / "controls" / "0.png")
    return {"path": str(folder / "pictures"), "control_path": str(folder / "controls"), "resolution": [64], "flip_x": True}


@pytest.fixture
def job_of(tmp_path):
    settings = data(tmp_path / "data")

    def make(name: str, **changes: Any) -> Any:
        case = next(case for case in tiny.CASES if case.name == name)
        base = tmp_path / f"base {name}"
        if not base.exists():
            tiny.save(case.make(), base, **case.defaults)
        whole: dict[str, Any] = {
            "name": "tiny", "model": {"name_or_path": str(base)}, "adapter": {"type": "control_net"}, "datasets": [settings],
            "train": {"steps": 4, "lr": 1e-2, "batch_size": 2, "optimizer": "adamw", "ema_config": {"use_ema": True, "ema_decay": 0.9}},
            "sample": {"sample_every": None}, "save": {"save_every": 2, "dtype": "fp32"},
        }  # fmt: skip
        return load_job(whole | changes)

    return make
