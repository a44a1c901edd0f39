"""AI Toolkit's optimizers and learning rates as ours."""

from __future__ import annotations

import pytest
from ai_toolkit import changed, read


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ("Prodigy_v2", "prodigy", ""),
        ("prodigy8bit", "prodigy8bit", ""),
        ("dadaptation", "dadaptadam", ""),
        ("dadaptationlion", "dadaptlion", ""),
        ("dadaptationadam", "dadaptadam", "built as D-Adapt Lion by AI Toolkit"),
    ],
)
def test_optimizers_get_the_names_that_they_have_here(theirs: str, ours: str, said: str) -> None:
    job, notes = read(changed("train", optimizer=theirs))
    assert job.train.optimizer == ours and said in notes


def test_a_rate_for_text_encoders_is_taken_over_where_they_are_trained() -> None:
    assert read(changed("train", text_encoder_lr=1e-5, train_text_encoder=False))[0].train.text_encoder_lr is None
    assert read(changed("train", text_encoder_lr=1e-5, train_text_encoder=True))[0].train.text_encoder_lr == 1e-5
