"""A tiny base model, a few pictures, and a job that trains on them in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image

from engine.control import Control
from engine.events import Event
from engine.execute import execute
from engine.jobs import TrainJob, load_job
from engine.runs.folder import RunFolder


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return tiny.save(tiny.flux(), tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Six pictures in two shapes, each with a caption."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, colour in enumerate(["red", "green", "blue", "orange", "purple", "black"]):
        Image.new("RGB", (64, 64) if index < 4 else (96, 48), colour).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"[trigger], a {colour} field")
    return folder


@pytest.fixture
def make_job(base, pictures) -> Callable[..., TrainJob]:
    def make(**changes: Any) -> TrainJob:
        data: dict[str, Any] = {
            "name": "tiny",
            "trigger_word": "zzz",
            "model": {"name_or_path": str(base)},
            "network": {"type": "lora", "rank": 4},
            "datasets": [{"path": str(pictures), "caption_dropout_rate": 0.3}],
            "train": {"steps": 4, "lr": 1e-3, "batch_size": 2, "optimizer": "adamw"},
            "sample": {"sample_every": 2, "prompts": ["[trigger] at dawn"]},
            "save": {"save_every": 2, "dtype": "fp32"},
        }
        for path, value in changes.items():
            section, _, key = path.partition("__")
            data[section] = data[section] | {key: value} if key else value
        return load_job(data)

    return make


@pytest.fixture
def run(tmp_path) -> Callable[..., list[Event]]:
    """Executes a job in a folder; ``watch`` sees each event and the control."""

    def go(job: TrainJob, root: str = "out", watch: Callable[[Event, Control], None] | None = None) -> list[Event]:
        folder, control, events = RunFolder.create(tmp_path / root, job, exist_ok=True), Control(), []
        for event in execute(job, folder, control):
            folder.append(event)
            events.append(event)
            if watch:
                watch(event, control)
        return events

    return go
