"""The whole of a training, on the real classes at tiny sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

from engine.events import Event
from engine.runs.atomic import put, staging
from engine.runs.checkpoints import CheckpointStore, write_state
from engine.runs.folder import RunFolder
from engine.sampling.draw import read_settings


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events if event.kind not in {"phase", "progress"}]


def final(tmp_path: Path, root: str = "out") -> Path:
    return tmp_path / root / "tiny" / "tiny.safetensors"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_tells_samples_saves_and_finishes(make_job, run, tmp_path):
    events = run(make_job())
    assert kinds(events) == [
        "sampled",
        "step",
        "step",
        "saved",
        "sampled",
        "step",
        "step",
        "saved",
        "sampled",
        "finished",
    ]
    assert [e.step for e in events if e.kind == "step"] == [1, 2, 3, 4]
    assert {p.name for p in (tmp_path / "out" / "tiny").glob("*.safetensors")} == {
        "tiny.safetensors",
        "tiny_000000002.safetensors",
    }
    sample = next(e for e in reversed(events) if e.kind == "sampled")
    assert sample.prompt == "zzz at dawn"
    settings = read_settings(tmp_path / "out" / "tiny" / sample.path)
    assert (settings["prompt"], settings["steps"], settings["seed"], settings["step"]) == (
        "zzz at dawn",
        2,
        42,
        "4",
    )


def test_the_loss_falls_on_one_picture_that_is_learnt_by_heart(make_job, run):
    events = run(
        make_job(
            train={"steps": 150, "lr": 1e-2, "batch_size": 4, "optimizer": "adamw"},
            network={"type": "full"},
            sample__sample_every=None,
        )
    )
    losses = [e.loss for e in events if e.kind == "step"]
    assert sum(losses[-20:]) < 0.95 * sum(losses[:20])


VARIANTS = {
    "lora": {},
    "dropout": {"network": {"type": "lora", "rank": 4, "dropout": 0.4}},
    "all weights, average, text encoders, decay": {
        "network": {"type": "full"},
        "train": {
            "steps": 4, "lr": 1e-3, "batch_size": 2, "optimizer": "adamw", "train_text_encoder": True,
            "ema_config": {"use_ema": True, "ema_decay": 0.9}, "lr_scheduler": "warmup_stable_decay", "lr_warmup_steps": 1,
        },
    },
    "accumulation and cosine": {
        "train": {"steps": 4, "lr": 1e-3, "batch_size": 1, "gradient_accumulation": 3, "optimizer": "adamw", "lr_scheduler": "cosine"}
    },
    "schedule-free, two rates": {"train": {"steps": 4, "lr": 1e-3, "batch_size": 2, "optimizer": "schedule-free", "loraplus_lr_ratio": 4}},
    "all weights in bf16": {
        "network": {"type": "full"},
        "train": {"steps": 4, "lr": 1e-3, "batch_size": 2, "optimizer": "adamw", "dtype": "bf16", "weights_dtype": "bf16", "lr_scheduler": "linear"},
    },
    "a rate that is found": {"train": {"steps": 4, "lr": 1, "batch_size": 2, "optimizer": "prodigy", "optimizer_params": {"d0": 1e-4}}},
}  # fmt: skip


@pytest.mark.parametrize("stop_at", [1, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_stopped_and_continued_is_the_same_bytes_as_never_stopped(make_job, run, tmp_path, variant, stop_at):
    job = make_job(**VARIANTS[variant])
    run(job, "whole")

    def stop(event, control):
        control.stop = event.kind == "step" and event.step == stop_at

    first = run(job, "halves", stop)
    assert first[-1].reason == "stopped" and first[-1].step == stop_at
    torch.manual_seed(99)  # what happens in between must not matter
    second = run(job, "halves")
    assert [e.step for e in second if e.kind == "step"] == list(range(stop_at + 1, 5))
    whole, halves = (tmp_path / root / "tiny" for root in ("whole", "halves"))
    names = [name for name in files(whole) if name.startswith(("tiny.safetensors", "tiny/")) or "/000000004_" in name]
    assert len(names) >= 2
    assert {n: files(whole)[n] for n in names} == {n: files(halves)[n] for n in names}


def test_all_weights_are_saved_as_a_folder_that_stock_diffusers_loads(make_job, run, tmp_path, base):
    from diffusers import FluxPipeline

    run(make_job(network={"type": "full"}, save={"dtype": "fp16"}, sample__sample_every=None))
    pipe = FluxPipeline.from_pretrained(tmp_path / "out" / "tiny" / "tiny", torch_dtype=torch.float32)
    trained, before = (
        pipe.transformer.state_dict(),
        load_file(base / "transformer" / "diffusion_pytorch_model.safetensors"),
    )
    assert trained.keys() == before.keys()
    assert any(not torch.equal(trained[key], before[key].half().float()) for key in before)
    assert torch.equal(
        pipe.text_encoder_2.state_dict()["shared.weight"],
        tiny.flux().text_encoder_2.state_dict()["shared.weight"],
    )


def test_training_more_continues_a_finished_run(make_job, run, tmp_path):
    run(make_job())
    before = final(tmp_path).read_bytes()
    events = run(make_job(train__steps=6))
    assert [e.step for e in events if e.kind == "step"] == [5, 6]
    assert final(tmp_path).read_bytes() != before


def test_a_finished_run_started_again_is_finished(make_job, run, tmp_path):
    run(make_job())
    before = final(tmp_path).read_bytes()
    assert kinds(run(make_job())) == ["finished"]
    assert final(tmp_path).read_bytes() == before


def test_another_rank_is_refused_with_what_changed(make_job, run, tmp_path):
    run(make_job())
    before = files(tmp_path / "out" / "tiny" / "state")
    failed = run(make_job(network={"type": "lora", "rank": 8}))[-1]
    assert failed.kind == "failed" and ": network.rank was 4, is 8." in failed.message and failed.hint
    assert files(tmp_path / "out" / "tiny" / "state") == before


def test_a_state_from_before_a_setting_existed_goes_on_where_it_is_left_as_usual(make_job, run, tmp_path):
    run(make_job())
    store = CheckpointStore(RunFolder(tmp_path / "out" / "tiny"), 8, 1)
    state = store.latest()
    older = {key: value for key, value in state.values["job"].items() if key not in ("network.module_dropout", "train.weights_dtype")}
    with staging(store.folder.state) as stage:
        write_state(stage / "state", state.step, state.tensors, state.values | {"job": older})
        put(stage / "state", store.folder.state_path(state.step))
    failed = run(make_job(train__steps=6, network={"type": "lora", "rank": 4, "module_dropout": 0.1}))[-1]
    assert failed.kind == "failed" and "network.module_dropout was 0.0, is 0.1" in failed.message
    assert [event.step for event in run(make_job(train__steps=6)) if event.kind == "step"] == [5, 6]


def test_save_now_and_sample_now_change_nothing_else(make_job, run, tmp_path):
    def ask(event, control):
        if event.kind == "step" and event.step == 1:
            control.ask("save")
            control.ask("sample")

    run(make_job(), "plain")
    events = run(make_job(), "asked", ask)
    assert kinds(events)[:4] == ["sampled", "step", "saved", "sampled"]
    assert final(tmp_path, "plain").read_bytes() == final(tmp_path, "asked").read_bytes()


@pytest.mark.parametrize("phase", ["Reading pictures", "Encoding captions", "Encoding pictures", "Loading the model"])
def test_a_stop_while_loading_ends_without_a_trace_of_failure(make_job, run, phase):
    def stop(event, control):
        control.stop = control.stop or (event.kind == "phase" and event.name == phase)

    events = run(make_job(), watch=stop)
    assert events[-1].kind == "finished" and events[-1].reason == "stopped"
    assert not [e for e in events if e.kind in {"step", "saved", "failed"}]


def test_the_trained_lora_moves_stock_diffusers_as_it_moves_ours(make_job, run, tmp_path, base):
    from diffusers import FluxPipeline

    run(
        make_job(
            train__steps=20,
            train__lr=5e-2,
            sample={"sample_every": 20, "prompts": ["[trigger] at dawn"], "format": "png"},
        )
    )
    pipe = FluxPipeline.from_pretrained(base)
    pipe.load_lora_weights(final(tmp_path))
    theirs = pipe(
        "zzz at dawn", width=32, height=32, num_inference_steps=2, max_sequence_length=32, guidance_scale=1.0,
        generator=torch.Generator().manual_seed(42),
    ).images[0]  # fmt: skip
    import numpy
    from PIL import Image

    ours = Image.open(next((tmp_path / "out" / "tiny" / "samples").glob("000000020_*.png")))
    base_picture = Image.open(next((tmp_path / "out" / "tiny" / "samples").glob("000000000_*.png")))
    assert numpy.abs(numpy.asarray(ours, int) - numpy.asarray(theirs, int)).max() <= 1
    assert numpy.abs(numpy.asarray(ours, int) - numpy.asarray(base_picture, int)).max() > 8
