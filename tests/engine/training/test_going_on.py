"""Going on with a run: for more steps, from an earlier step, with weights from elsewhere; exactly where that can be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import JobError
from engine.network.formats import from_any
from engine.network.layers import split
from engine.runs.changes import current_job
from engine.runs.folder import RunFolder
from engine.runs.metrics import read_metrics
from engine.runs.points import Point, free_final, go_back, last_point, lengthen, points
from engine.tools import export_lora

QUIET = {"sample__sample_every": None}
STILL = 1e-12
"""A learning rate that moves nothing."""


def of(events, kind):
    return [event for event in events if event.kind == kind]


def tiny_at(tmp_path, root):
    return RunFolder(tmp_path / root / "tiny")


def test_a_finished_run_is_trained_further_and_ends_as_a_longer_one_would_have(make_job, run, tmp_path):
    run(make_job(train__steps=6, **QUIET), "long")
    run(make_job(**QUIET), "further")
    folder = tiny_at(tmp_path, "further")
    assert lengthen(folder, 2) == 6 and current_job(folder).train.steps == 6
    assert [(one.step, one.final) for one in folder.checkpoints()] == [(2, False), (4, False)]
    events = run(make_job(**QUIET), "further")
    assert [event.step for event in of(events, "step")] == [5, 6] and events[-1].reason == "completed"
    assert folder.final_path.read_bytes() == tiny_at(tmp_path, "long").final_path.read_bytes()
    assert lengthen(folder, 3) == 9
    with pytest.raises(JobError, match="at least 1 step"):
        lengthen(folder, 0)


def test_a_stopped_run_trained_for_fewer_steps_than_were_left_ends_earlier(make_job, run, tmp_path):
    def stop(event, control):
        control.stop = event.kind == "step" and event.step == 3

    run(make_job(train__steps=50, **QUIET), watch=stop)
    assert lengthen(tiny_at(tmp_path, "out"), 1) == 4
    events = run(make_job(train__steps=50, **QUIET))
    assert [event.step for event in of(events, "step")] == [4] and of(events, "saved")[-1].final


def test_back_to_a_step_whose_state_is_kept_ends_in_the_same_bytes_and_later_files_are_put_aside(make_job, run, tmp_path):
    job = make_job(train__steps=6, save={"save_every": 2, "dtype": "fp32", "max_states_to_keep": 3}, sample__skip_first_sample=True)
    run(job)
    folder = tiny_at(tmp_path, "out")
    before = folder.final_path.read_bytes()
    assert points(folder) == [Point(2, True), Point(4, True), Point(6, True)]
    event = go_back(folder, 2)
    assert event.aside == folder.path.joinpath("earlier", "1").relative_to(folder.path)
    aside = folder.path / event.aside
    assert (aside / "tiny_000000006.safetensors").read_bytes() == before and (aside / "tiny_000000004.safetensors").exists()
    assert len(list((aside / "samples").iterdir())) == 2 and [one.step for one in folder.list_samples()] == [2]
    assert points(folder) == [Point(2, True)] and last_point(folder) == 2
    events = run(job)
    assert [event.step for event in of(events, "step")] == [3, 4, 5, 6]
    assert folder.final_path.read_bytes() == before
    assert [row["step"] for row in read_metrics(folder.metrics)] == ["1", "2", "3", "4", "5", "6"]
    assert folder.checkpoints()[-1].step == 6 and folder.checkpoints()[-1].final


def test_back_to_a_step_without_a_state_goes_on_from_its_weights(make_job, run, tmp_path):
    job = make_job(train__steps=6, train__ema_config={"use_ema": True}, **QUIET)
    run(job)
    folder = tiny_at(tmp_path, "out")
    assert points(folder) == [Point(2, False), Point(4, False), Point(6, True)]
    with pytest.raises(JobError, match=r"cannot go back to step 3\. It can go on from step 2 \(its weights alone\), 4 .*, 6\."):
        go_back(folder, 3)
    marked = {name: tensor + (0 if name.endswith("alpha") else 1) for name, tensor in load_file(folder.checkpoint_path(2)).items()}
    save_file(marked, folder.checkpoint_path(2))
    go_back(folder, 2)
    assert points(folder) == [Point(2, False)] and last_point(folder) == 2
    events = run(make_job(train={**job.train.model_dump(), "lr": STILL}, **QUIET))
    assert [event.step for event in of(events, "step")] == [3, 4, 5, 6]
    assert any("only the weights are kept" in event.message for event in of(events, "warned"))
    for name, tensor in load_file(folder.final_path).items():
        assert torch.allclose(tensor, marked[name], atol=1e-6), name


def test_changes_before_a_step_are_made_again_after_going_back_and_later_ones_are_not(make_job, run, tmp_path):
    def change(event, control):
        if event.kind == "step" and event.step in (1, 3):
            control.change({"train.lr": event.step * 1e-3 + 1e-3})

    run(make_job(train__steps=6, **QUIET), watch=change)
    folder = tiny_at(tmp_path, "out")
    go_back(folder, 2)
    assert current_job(folder).train.lr == 2e-3
    events = run(make_job(train__steps=6, **QUIET))
    assert {event.lr for event in of(events, "step")} == {2e-3}


def test_a_run_killed_between_two_renamings_of_going_back_can_be_sent_back_again(make_job, run, tmp_path, monkeypatch):
    run(make_job(train__steps=6, **QUIET))
    folder = tiny_at(tmp_path, "out")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("engine.runs.points.put", killed)
        with pytest.raises(KeyboardInterrupt):
            free_final(folder)
    shutil.copy(folder.final_path, folder.checkpoint_path(6))  # as if it had come a little further
    go_back(folder, 4)
    assert [one.step for one in folder.checkpoints()] == [2, 4] and last_point(folder) == 4


def test_counting_begins_at_start_step_with_its_learning_rate(make_job, run):
    train = {"steps": 6, "lr": 1e-3, "batch_size": 2, "optimizer": "adamw", "lr_scheduler": "linear", "start_step": 4}
    steps = of(run(make_job(train=train, **QUIET)), "step")
    assert [(event.step, event.total) for event in steps] == [(5, 6), (6, 6)]
    assert [event.lr for event in steps] == pytest.approx([1e-3 / 6, 0.0])
    failed = run(make_job(train={**train, "start_step": 6}, **QUIET), "none")[-1]
    assert "leaves nothing of the 6 steps" in failed.message


@pytest.mark.parametrize("form", ["kohya", "comfyui", "diffusers"])
def test_a_file_from_elsewhere_is_trained_further_whatever_its_names(make_job, run, tmp_path, form):
    run(make_job(train__steps=2, **QUIET), "first")
    source = tiny_at(tmp_path, "first").final_path
    foreign = tmp_path / f"{form}.safetensors"
    export_lora(source, foreign, form)
    network = {"type": "lora", "rank": 4, "alpha": 8, "pretrained_lora_path": str(foreign)}  # another scale: the same update
    run(make_job(network=network, train__lr=STILL, train__steps=2, **QUIET), "second")
    ours, theirs = (split(from_any(path, "flux")) for path in (tiny_at(tmp_path, "second").final_path, source))
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert theirs[name].delta().any() and torch.allclose(ours[name].delta(), theirs[name].delta(), atol=1e-6), name
    foreign.unlink()  # a run that goes on does not need it any more
    lengthen(tiny_at(tmp_path, "second"), 1)
    assert run(make_job(network=network, train__lr=STILL, train__steps=2, **QUIET), "second")[-1].kind == "finished"


def test_a_lokr_is_trained_further_and_a_file_that_does_not_fit_is_one_sentence(make_job, run, tmp_path):
    run(make_job(network={"type": "lokr"}, train__steps=2, **QUIET), "first")
    path = tiny_at(tmp_path, "first").final_path
    run(make_job(network={"type": "lokr", "pretrained_lora_path": str(path)}, train__lr=STILL, train__steps=2, **QUIET), "second")
    ours, theirs = load_file(tiny_at(tmp_path, "second").final_path), load_file(path)
    assert ours.keys() == theirs.keys() and all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in ours)
    failed = run(make_job(network={"type": "lora", "rank": 4, "pretrained_lora_path": str(path)}, **QUIET), "other")[-1]
    assert failed.kind == "failed" and failed.message == "tiny.safetensors is a lokr, this run trains a lora." and not failed.detail


MERGING = {"steps": 6, "lr": 1e-2, "batch_size": 2, "optimizer": "adamw", "merge_network_on_save": True}


def test_what_is_merged_on_save_is_a_whole_model_and_a_run_that_was_killed_ends_in_the_same_bytes(make_job, run, tmp_path, base):
    job = make_job(train=MERGING, **QUIET)
    run(job, "whole")

    class Killed(Exception):
        pass

    def kill(event, control):
        control.save = control.save or (event.kind == "step" and event.step == 2)  # a save in between changes nothing
        if event.kind == "step" and event.step == 5:
            raise Killed

    with pytest.raises(Killed):
        run(job, "cut", kill)
    run(job, "cut")
    whole, cut = tmp_path / "whole" / "tiny" / "tiny", tmp_path / "cut" / "tiny" / "tiny"
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert Path("transformer/diffusion_pytorch_model.safetensors") in files
    for file in files:
        assert (whole / file).read_bytes() == (cut / file).read_bytes(), file
    ours, before = (load_file(next((folder / "transformer").glob("*.safetensors"))) for folder in (whole, base))
    assert ours.keys() == before.keys() and not all(torch.equal(ours[name], before[name]) for name in before)
    assert not list((tmp_path / "whole" / "tiny").glob("*.safetensors"))


def test_a_merge_adds_the_update_by_its_strength_and_the_adapter_begins_anew(make_job, run, tmp_path, base):
    """Against the file of the LoRA that the same training without merging makes."""
    run(
        make_job(train={**MERGING, "steps": 2, "merge_network_on_save": False}, save={"dtype": "fp32", "save_every": None}, **QUIET), "lora"
    )
    run(
        make_job(train={**MERGING, "steps": 2, "merge_network_on_save_strength": 0.5}, save={"dtype": "fp32", "save_every": None}, **QUIET),
        "merged",
    )
    updates = split(from_any(tiny_at(tmp_path, "lora").final_path, "flux"))
    ours, before = (
        load_file(next((folder / "transformer").glob("*.safetensors"))) for folder in (tmp_path / "merged" / "tiny" / "tiny", base)
    )
    for name, update in updates.items():
        key = f"{name.removeprefix('transformer.')}.weight"
        assert torch.allclose(ours[key], before[key] + 0.5 * update.delta(), atol=1e-5) and not torch.equal(ours[key], before[key])
    state = tiny_at(tmp_path, "merged").state_path(2)
    weights = load_file(state / "weights.safetensors")
    assert all(not tensor.any() for name, tensor in weights.items() if "lora_B" in name) and (state / "base.safetensors").is_file()


@pytest.mark.parametrize(("changes", "told"), [
    ({"network": {"type": "dora", "rank": 4}}, "for a LoRA, LoKr, LoHa or OFT alone"), ({"train__optimizer": "schedule-free"}, "averages the weights"),
])  # fmt: skip
def test_what_cannot_be_merged_is_refused_before_anything_is_loaded(make_job, run, changes, told):
    last = run(make_job(**{"train": MERGING, **QUIET, **changes}))[-1]
    assert last.kind == "failed" and told in last.message and not last.detail


def test_an_upload_that_cannot_be_is_told_before_and_costs_nothing_of_the_run(make_job, run, tmp_path):
    """Tests have no network."""
    save = {"save_every": None, "push_to_hub": True}
    failed = run(make_job(save=save, **QUIET))[-1]
    assert failed.kind == "failed" and failed.message == "save.push_to_hub needs to know where to upload."
    events = run(make_job(train__steps=1, save={**save, "hf_repo_id": "me/cats"}, **QUIET))
    told = [event for event in of(events, "warned") if "Nothing can be uploaded" in event.message]
    assert len(told) == 2 and "The training goes on" in told[0].hint and events[-1].reason == "completed"
    assert "# tiny" in (tmp_path / "out" / "tiny" / "README.md").read_text("utf-8") and tiny_at(tmp_path, "out").final_path.is_file()
