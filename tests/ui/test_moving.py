"""The folder with all that a person made is copied to another place, or renamed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from engine.queue import Runner
from engine.settings import home, load_settings, resolve
from ui import drafts
from ui.desk import Desk
from ui.studio import Studio


@pytest.mark.parametrize("old_stays", [True, False])
def test_runs_data_sets_and_the_draft_go_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old_stays: bool) -> None:
    pictures = load_settings().folder("datasets") / "fox"
    pictures.mkdir()
    Image.new("RGB", (64, 64), "red").save(pictures / "a.png")
    (pictures / "a.txt").write_text("a fox")
    studio = Studio(Runner())
    draft = Desk(studio).begin("fox")
    job, problems = drafts.settled(draft)
    assert job is not None and not problems
    studio.runner.submit(job)
    studio.runner.ask("fox", "stop")  # it leaves the line

    place = tmp_path / "elsewhere"
    shutil.copytree(home(), place) if old_stays else shutil.move(home(), place)
    monkeypatch.setenv("DARKROOM_HOME", str(place))
    studio = Studio(Runner())
    [record] = studio.runner.runs()
    assert (record.name, record.folder, record.status) == ("fox", place / "output" / "fox", "stopped")
    job = studio.job(record)
    assert resolve(job.datasets[0].path) == place / "datasets" / "fox" and studio.library.name_of(job.datasets[0].path) == "fox"
    desk = Desk(studio)
    assert desk.dataset(desk.kept()) == "fox" and desk.kept() == draft
    assert [path for _, path in desk.choices(draft).pictures] == ["datasets/fox"]
