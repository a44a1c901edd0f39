"""Captions on their way into a training."""

from __future__ import annotations

from collections import Counter

import pytest
from PIL import Image

from engine.data.captions.options import variants, wording_of
from engine.training import loader

WORDS = {"shuffle_tokens": True, "keep_tokens": 1, "token_dropout_rate": 0.3, "random_triggers": ["x", "y"], "caption_dropout_rate": 0.3}


@pytest.fixture
def shown(monkeypatch) -> list[tuple[str, str]]:
    """Caption and what was shown of it, each time."""
    seen, real = [], loader.text_at

    def spy(caption: str, *arguments: object) -> str:
        seen.append((caption, text := real(caption, *arguments)))
        return text

    monkeypatch.setattr(loader, "text_at", spy)
    return seen


@pytest.mark.parametrize("text_encoder", [False, True])
def test_captions_vary_among_a_few_versions(make_job, run, pictures, shown, text_encoder):
    data = {"path": str(pictures), **WORDS, "caption_variants": 3}
    train = {"steps": 12, "batch_size": 2, "optimizer": "adamw", "train_text_encoder": text_encoder}
    network = {"type": "full"} if text_encoder else {"type": "lora", "rank": 4}
    job = make_job(datasets=[data], train=train, network=network, sample__sample_every=None, save__save_every=None)
    assert run(job)[-1].kind == "finished"
    wording = wording_of(job.datasets[0])
    assert len(shown) >= 24 and "" in {text for _, text in shown}
    assert all(text in variants(caption, wording, job.train.seed) for caption, text in shown)
    assert all(text.startswith("zzz") for _, text in shown if text)
    assert max(Counter(caption for caption, _ in set(shown)).values()) > 1, "the same caption is shown in several versions"


def test_what_was_found_about_captions_is_told_and_kohyas_folders_repeat(make_job, run, tmp_path):
    for name, colour in (("3_cat", "red"), ("1_dog", "blue")):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("RGB", (64, 64), colour).save(tmp_path / "set" / name / "a.png")
    job = make_job(datasets=[{"path": str(tmp_path / "set")}], train__steps=1, sample__sample_every=None, save__save_every=None)
    told = [event.message for event in run(job) if event.kind == "warned"]
    assert any("1_dog (1), 3_cat (3), and 2 pictures without a caption" in message for message in told)
