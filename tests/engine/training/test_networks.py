"""Every kind of network through a whole run."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from engine.tools import export_lora, inspect_lora

KINDS = {
    "lokr": {"type": "lokr"},
    "lokr with a rank": {"type": "lokr", "lokr_full_rank": False, "rank": 2, "alpha": 1, "lokr_factor": 4},
    "loha": {"type": "loha", "rank": 2},
    "dora": {"type": "dora", "rank": 2, "dropout": 0.1},
    "oft": {"type": "oft", "rank": 2},
    "lora that drops": {"type": "lora", "rank": 2, "rank_dropout": 0.3, "module_dropout": 0.3},
    "lokr that drops": {"type": "lokr", "lokr_full_rank": False, "rank": 2, "alpha": 1, "rank_dropout": 0.3, "module_dropout": 0.3},
    "loha that drops": {"type": "loha", "rank": 2, "rank_dropout": 0.3, "module_dropout": 0.3},
}
EMA = {"use_ema": True, "ema_decay": 0.9}


@pytest.mark.parametrize("name", KINDS)
def test_a_run_that_is_stopped_continues_in_the_same_bytes_and_its_file_is_known(name, make_job, run, tmp_path):
    job = make_job(network=KINDS[name], sample__sample_every=None, save__format="comfyui", train__ema_config=EMA if name == "oft" else {})
    run(job, "whole")
    run(job, "halves", watch=lambda event, control: setattr(control, "stop", event.kind == "step" and event.step == 2))
    events = run(job, "halves")
    assert not [event for event in events if event.kind in {"failed", "warned"}], events
    whole, halves = (next((tmp_path / root).rglob("tiny.safetensors")) for root in ("whole", "halves"))
    assert whole.read_bytes() == halves.read_bytes()
    report = inspect_lora(whole)
    assert (report.kind, report.family) == (KINDS[name]["type"], "flux") and all(norm > 0 for _, norm in report.blocks)
    alphas = [] if name in ("lokr", "oft") else [KINDS[name].get("alpha", 2.0)]
    ranks = [] if name == "lokr" else [2]
    if "lora" not in name:  # of which ComfyUI's names hold several layers in one
        assert (report.ranks, report.alphas) == (ranks, alphas)
    assert set(ranks) <= set(report.ranks) and set(alphas) <= set(report.alphas)
    export_lora(whole, tmp_path / "kohya.safetensors", "kohya")
    assert all(key.startswith(("lora_unet_", "lycoris_")) for key in load_file(tmp_path / "kohya.safetensors"))
    export_lora(tmp_path / "kohya.safetensors", tmp_path / "back.safetensors", "comfyui")
    one, back = load_file(whole), load_file(tmp_path / "back.safetensors")
    assert one.keys() == back.keys() and all((one[key] == back[key]).all() for key in one)


def test_a_setting_that_does_nothing_here_is_said(make_job, run):
    job = make_job(network={"type": "lokr", "rank": 8, "conv": 4}, train__steps=1, sample__sample_every=None)
    said = [event.message for event in run(job) if event.kind == "warned"]
    assert "network.conv and network.rank have no effect on this network and model." in said
