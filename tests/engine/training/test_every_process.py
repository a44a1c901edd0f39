"""Every kind of network in every kind of training that it can be in: it learns, and what is saved is known by its kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.tools import inspect_lora

NETWORKS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 2}, "lokr": {}, "loha": {"rank": 2}, "dora": {"rank": 2}, "oft": {"rank": 2},
}  # fmt: skip
TRAIN = {"steps": 2, "lr": 1e-2, "batch_size": 2, "optimizer": "adamw"}
PROCESSES: dict[str, dict[str, Any]] = {
    "slider": {
        "slider": {"target_class": "a field", "positive_prompt": "a red field", "negative_prompt": "a blue field", "anchor_class": "a sky"}
    },
    "pair slider": {"pair_slider": {"target_class": "a field"}},
    "replacements": {"replacements": [{"concept": "field", "replacement": "sea"}]},
    "preservation": {"train": TRAIN | {"diff_output_preservation": True, "diff_output_preservation_class": "a lawn"}},
    "empty prompt": {"train": TRAIN | {"blank_prompt_preservation": True}},
    "merging": {"train": TRAIN | {"merge_network_on_save": True}},
    "beside a word": {"embedding": {"trigger": "zqcat", "tokens": 2}, "trigger_word": "zqcat"},
}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("kind", NETWORKS)
def test_it_learns_and_is_saved(kind, process, make_job, run, tmp_path, pictures, base):
    sections = {"train": TRAIN, "network": {"type": kind, **NETWORKS[kind]}} | PROCESSES[process]
    data = {"path": str(pictures)} | ({"control_path": str(pictures)} if process == "pair slider" else {})
    job = make_job(**sections, datasets=[data], sample__sample_every=None, save={"save_every": None, "dtype": "fp32"})
    last = run(job)[-1]
    if (kind, process) == ("dora", "merging"):
        assert last.kind == "failed" and "LoRA, LoKr, LoHa or OFT" in last.message
        return
    assert last.kind == "finished", last
    if process == "merging":
        ours, before = (
            load_file(next((folder / "transformer").glob("*.safetensors"))) for folder in (tmp_path / "out" / "tiny" / "tiny", base)
        )
        assert any(not torch.equal(ours[name], before[name]) for name in before)
        return
    report = inspect_lora(tmp_path / "out" / "tiny" / "tiny.safetensors")
    assert (report.kind, report.family) == (kind, "flux")
    # of a pair of the same pictures there is nothing to learn; all else moves
    assert all(norm > 0 for _, norm in report.blocks) or process == "pair slider"
