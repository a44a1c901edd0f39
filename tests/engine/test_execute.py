"""Errors become the last event: a sentence and what to do, never a traceback for what a person can mend."""

from __future__ import annotations

import errno

import pytest

from engine.errors import JobError
from engine.execute import explain


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (JobError("It is so.", "Do this."), "It is so.", "Do this."),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full.", "Free some space"),
        (
            PermissionError(errno.EACCES, "Permission denied", "a/b.png"),
            "a/b.png may not be read",
            "permissions",
        ),
        (
            type("OutOfMemoryError", (RuntimeError,), {})("CUDA"),
            "graphics card ran out of memory",
            "Lower the resolution",
        ),
        (
            type("AcceleratorError", (RuntimeError,), {})(
                "CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later."
            ),
            "The graphics card stopped working: CUDA error: unspecified launch failure.",
            "continue the run",
        ),
        (RuntimeError("CUDA error: device-side assert triggered"), "The graphics card stopped working", "Start the program again"),
        (type("AcceleratorError", (RuntimeError,), {})("HIP error: out of order"), "stopped working: HIP error: out of order.", "whole"),
    ],
)
def test_what_a_person_can_mend_is_a_sentence_with_a_hint(error, message, hint):
    failed = explain(error)
    assert message in failed.message and hint in failed.hint and not failed.detail


def test_a_bug_says_so_and_keeps_its_traceback():
    try:
        {}["missing"]
    except KeyError as error:
        failed = explain(error)
    assert "KeyError" in failed.message and "bug" in failed.hint and "test_execute.py" in failed.detail


def test_a_missing_base_model_is_told_and_nothing_is_trained(make_job, run):
    events = run(make_job(model={"name_or_path": "nowhere/at-all"}))
    assert events[-1].kind == "failed"
    assert "nowhere/at-all" in events[-1].message and "hub cannot be reached" in events[-1].message and "Starter" in events[-1].hint
    assert "pickle" in run(make_job(model={"name_or_path": "old.ckpt"}), "two")[-1].message


def test_a_model_of_an_unknown_family_is_named(make_job, run, tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "model_index.json").write_text('{"_class_name": "OddPipeline"}')
    failed = run(make_job(model={"name_or_path": str(tmp_path / "odd")}))[-1]
    assert failed.kind == "failed" and "OddPipeline" in failed.message and "flux" in failed.hint
