from __future__ import annotations

from typing import get_args

import pytest
import torch

from engine.families.catalog import STARTER
from engine.jobs.train import Bias, TimestepType
from engine.training.timesteps import Levels
from ui import levels


@pytest.mark.parametrize("bias", get_args(Bias))
@pytest.mark.parametrize("kind", get_args(TimestepType))
def test_the_picture_shows_the_levels_that_training_draws(kind: TimestepType, bias: Bias) -> None:
    shares = (torch.arange(199, dtype=torch.float64) + 0.5) / 199
    drawn = Levels(kind, bias, sampler_steps=6).at(shares, 1024).tolist()
    assert [levels.level(kind, share, bias, 1024, 6) for share in shares.tolist()] == pytest.approx(drawn, abs=1e-6)


def test_what_is_left_out_is_not_drawn_and_the_rest_is_all_there_is() -> None:
    bars = levels.density("linear", low=0.5)
    assert sum(bars) == pytest.approx(1) and set(bars[:25]) == {0.0} and bars[25:] == pytest.approx([0.04] * 25, abs=0.002)
    assert sum(levels.density("one_step", high=0.5)) == pytest.approx(1)  # none lies there: the nearest one is drawn


def test_the_picture_follows_the_draft_and_a_wrong_answer_draws_none() -> None:
    draft = {"model": {"name_or_path": STARTER.name_or_path}}
    usual, shifted = levels.picture(draft), levels.picture(draft | {"train": {"timestep_type": "shift"}})
    assert "suits most models" in usual and "how often shift" in shifted and usual.count("<rect") == levels.BARS
    assert levels.picture(draft | {"train": {"timestep_type": "sigmoid", "min_denoising_steps": 500}}) != shifted
    assert levels.picture({"train": {"max_denoising_steps": "x"}}) == levels.picture({"train": {"timestep_type": "no such"}}) == ""
    assert levels.tokens_of({"datasets": [{"resolution": [512, 1024]}]}) == 4096
    assert levels.tokens_of({"model": {"name_or_path": STARTER.name_or_path}}) < 4096
