"""A job that a tiny model learns from, as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.jobs import dump_job


@pytest.fixture
def job_file(make_job, tmp_path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(dump_job(make_job()))
    return path
