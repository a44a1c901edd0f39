"""How much room a save is said to need, beside what it took."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.runs import checkpoints
from engine.training import begin


def size_of(*places: Path) -> int:
    return sum(file.stat().st_size for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file())


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"network": {"type": "full"}},
        {"train": {"steps": 2, "lr": 1e-3, "batch_size": 2, "optimizer": "adamw", "merge_network_on_save": True}},
        {"train": {"steps": 2, "lr": 1e-3, "batch_size": 2, "optimizer": "adamw", "ema_config": {"use_ema": True}}},
    ],
)
def test_the_first_save_asks_for_what_it_takes(make_job, run, tmp_path, monkeypatch, sections):
    asked: dict[str, list[int]] = {"begin": [], "save": []}
    plain = checkpoints.room_for
    for place, module in (("begin", begin), ("save", checkpoints)):
        monkeypatch.setattr(module, "room_for", lambda path, needed, place=place: asked[place].append(needed) or plain(path, needed))
    sections = {"train": {"steps": 2, "lr": 1e-3, "batch_size": 2, "optimizer": "adamw"}} | sections
    assert run(make_job(**sections, sample__sample_every=None, save={"save_every": None, "dtype": "fp32"}))[-1].kind == "finished"
    run_folder = tmp_path / "out" / "tiny"
    taken = size_of(*run_folder.glob("tiny*"), run_folder / "state")
    for place in asked:
        assert asked[place][0] == pytest.approx(taken, rel=0.2), place
