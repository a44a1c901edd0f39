"""Every preset is a job that says only what differs from the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from engine.families.catalog import BASES
from engine.jobs import dump_job, load_job_with_notes
from engine.jobs.tools import JOBS
from engine.settings import ROOT, resolve

PRESETS = sorted((ROOT / "presets").rglob("*.yaml"))


def leaves(data: object, path: str = "") -> dict[str, object]:
    """Dotted path of every value in nested sections → the value."""
    if isinstance(data, dict):
        return {where: value for key, inner in data.items() for where, value in leaves(inner, f"{path}.{key}".strip(".")).items()}
    return {path: data}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_preset_is_a_valid_job(path: Path) -> None:
    job, notes = load_job_with_notes(path)
    kinds = {"tools": [tool.model_fields["kind"].default for tool in JOBS]}.get(path.parent.name, [path.parent.name])
    assert notes == [] and job.kind in kinds
    assert load_job_with_notes(yaml.safe_load(dump_job(job)))[0] == job


@pytest.mark.parametrize("path", [path for path in PRESETS if "starter" in path.name], ids=lambda path: path.stem)
def test_what_a_preset_of_the_starter_needs_ships_with_it(path: Path) -> None:
    data = yaml.safe_load(path.read_text("utf-8"))
    needed = [data["model"]["name_or_path"], *(dataset["path"] for dataset in data.get("datasets", []))]
    assert [name for name in needed if not resolve(name).is_dir()] == []


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.id)
def test_every_base_model_that_the_app_offers_has_a_preset_of_its_own(base) -> None:
    data = yaml.safe_load((ROOT / "presets" / "train" / base.preset).read_text("utf-8"))
    assert data["model"]["name_or_path"] == base.name_or_path


@pytest.mark.parametrize("path", [path for path in PRESETS if path.parent.name == "train"], ids=lambda path: path.stem)
def test_the_numbers_that_stand_in_a_preset_are_there_to_be_seen(path: Path) -> None:
    """Defaults may be repeated where a person will want to change them, and nowhere else."""
    given = leaves(yaml.safe_load(path.read_text("utf-8")))
    kept = leaves(yaml.safe_load(dump_job(load_job_with_notes(path)[0])))
    shown = {"network.type", "network.rank", "train.steps", "train.lr", "train.optimizer", "sample.sample_every", "save.save_every"}
    assert set(given) - set(kept) <= shown
