"""What a run does when something goes wrong in the middle of it: the table in docs/runs.md."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from engine.training import learner as learning
from engine.training import trainer


def names(tmp_path):
    return sorted(path.name for path in (tmp_path / "out" / "tiny").glob("*.safetensors"))


def test_weights_that_a_step_broke_are_never_saved(make_job, run, tmp_path, monkeypatch):
    """The loss of that step was still fine."""
    calls = []

    def clip(parameters, *_):
        calls.append(0)
        if len(calls) == 4:
            for parameter in parameters:
                parameter.grad.fill_(float("nan"))

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
    events = run(make_job(train__steps=8))
    assert events[-1].kind == "failed" and "weights are not a number at step 4" in events[-1].message
    assert [event.step for event in events if event.kind == "step"] == [1, 2, 3, 4]
    assert names(tmp_path) == ["tiny_000000002.safetensors"]
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "out" / "tiny" / "tiny_000000002.safetensors").values())


def test_a_loss_that_is_not_a_number_ends_the_run_and_keeps_what_was_saved(make_job, run, tmp_path, monkeypatch):
    learn = learning.Learner.learn
    monkeypatch.setattr(learning.Learner, "learn", lambda self: learn(self) * (float("nan") if self.step == 3 else 1))
    events = run(make_job(train__steps=8))
    assert events[-1].kind == "failed" and "loss is not a number at step 3" in events[-1].message and events[-1].hint
    assert names(tmp_path) == ["tiny_000000002.safetensors"]


@pytest.mark.parametrize("times", [1, trainer.PATIENCE])
def test_a_batch_too_large_for_the_card_is_left_out_and_several_in_a_row_end_the_run(make_job, run, monkeypatch, times):
    learn, tried = learning.Learner.learn, []

    def short_of_memory(self):
        tried.append(self.step)
        if 2 <= len(tried) < 2 + times:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return learn(self)

    monkeypatch.setattr(learning.Learner, "learn", short_of_memory)
    events = run(make_job(train__steps=6))
    left_out = [event for event in events if event.kind == "warned" and "left out" in event.message]
    if times == 1:
        assert len(left_out) == 1 and events[-1].kind == "finished"
        assert [event.step for event in events if event.kind == "step"] == [1, 3, 4, 5, 6]
    else:
        assert events[-1].kind == "failed" and "in a row" in events[-1].message


class Cut(Exception):
    """As a power cut: nothing is told after it."""


@pytest.mark.parametrize("step", [2, 4])
@pytest.mark.parametrize("after", ["saved", "sampled"])
def test_cut_off_between_a_save_and_its_samples_it_draws_them_when_it_goes_on(make_job, run, tmp_path, step, after):
    job = make_job(sample__prompts=["[trigger] at dawn", "a tree"])

    def cut(event, control):
        if event.kind == after and event.step == step:
            raise Cut

    with pytest.raises(Cut):
        run(job, watch=cut)
    events = run(job)
    assert [(event.step, event.index) for event in events if event.kind == "sampled"] == [
        (at, index) for at in (2, 4) if at >= step for index in (0, 1)
    ]
    run(job, "whole")
    ours, whole = ({path.name: path.read_bytes() for path in (tmp_path / root / "tiny" / "samples").iterdir()} for root in ("out", "whole"))
    assert len(whole) == 6 and ours == whole
    assert not [event for event in run(job) if event.kind == "sampled"], "of a run that has all there is nothing to draw"
