"""What a data set's settings do in a run: pictures that change, regularisation, strengths, weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from phases import bench_of
from PIL import Image
from safetensors.torch import load_file

from engine.control import Control
from engine.execute import execute
from engine.runs.folder import RunFolder


def final(tmp_path: Path, root: str = "out") -> dict[str, torch.Tensor]:
    return load_file(tmp_path / root / "tiny" / "tiny.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def data(pictures, tmp_path):
    """A second folder, of other pictures."""
    folder = tmp_path / "things"
    folder.mkdir()
    for index in range(3):
        Image.effect_mandelbrot((64, 64), (-2 + index * 0.3, -1.5, 1, 1.5), 30).convert("RGB").save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text("a thing")
    return pictures, folder


CHANGING = {"random_crop": True, "random_scale": True, "augmentations": [{"method": "RandomBrightnessContrast", "p": 0.5}]}


@pytest.mark.parametrize("change", ["random_crop", "augmentations"])
def test_pictures_that_change_are_others_each_time_and_the_same_when_the_run_is_made_again(make_job, tmp_path, data, change):
    settings = {"random_crop": True, "random_scale": True} if change == "random_crop" else {"augmentations": [{"method": "ColorJitter"}]}
    job = make_job(datasets=[{"path": str(data[1]), "resolution": 48, **settings}], train__batch_size=3)
    bench = bench_of(job)
    first, second = bench.batch(0), bench.batch(1)
    order = [bench.loader.batches.at(micro) for micro in range(2)]
    assert not any(torch.equal(first.mean[order[0].index(item)], second.mean[order[1].index(item)]) for item in order[0])
    again = bench_of(job).batch(1)
    assert torch.equal(second.mean, again.mean) and torch.equal(second.std, again.std)
    assert not list((tmp_path / "a").rglob("latents"))


def test_still_and_changing_pictures_share_a_batch_and_keep_their_places(make_job, data):
    still, folder = data
    sets = [{"path": str(still), "resolution": 64}, {"path": str(folder), "resolution": 64, "augmentations": [{"method": "ToGray"}]}]
    job = make_job(datasets=sets, train__batch_size=7)
    bench = bench_of(job)
    for micro in range(2):
        chosen = [bench.loader.placed[index] for index in bench.loader.batches.at(micro)]
        alone = [
            bench.loader.latents.get(bench.loader.items[one.item], one.bucket)[0]
            for one in chosen
            if bench.loader.items[one.item].dataset == 0
        ]
        kept = [row for one, row in zip(chosen, bench.batch(micro).mean, strict=True) if bench.loader.items[one.item].dataset == 0]
        assert all(map(torch.equal, alone, kept))
        if len({bench.loader.items[one.item].dataset for one in chosen}) == 2:
            return
    pytest.fail("no batch was mixed")


def test_a_run_on_changing_pictures_stopped_in_the_middle_ends_in_the_same_bytes(make_job, run, tmp_path, data):
    job = make_job(datasets=[{"path": str(data[1]), "resolution": 48, **CHANGING}])
    run(job, "whole")

    def stop(event, control):
        if event.kind == "step" and event.step == 2:
            control.ask("stop")

    run(job, "cut", stop)
    assert run(job, "cut")[-1].kind == "finished"
    assert same(final(tmp_path, "whole"), final(tmp_path, "cut"))


def test_every_other_batch_is_of_regularisation_and_carries_no_trigger(make_job, data):
    sets = [{"path": str(data[0])}, {"path": str(data[1]), "is_reg": True, "default_caption": "x"}]
    (data[1] / "0.txt").write_text("[trigger] thing")
    bench = bench_of(make_job(datasets=sets, train__batch_size=1))
    kinds = [bench.loader.data_set(micro).is_reg for micro in range(20)]
    assert sum(kinds) == 10 and all(sum(kinds[at : at + 2]) == 1 for at in range(0, 20, 2))
    captions = {item.caption for item in bench.loader.items if item.dataset == 1}
    assert captions == {"[trigger] thing", "a thing"}


def test_what_concerns_the_whole_batch_keeps_sets_apart(make_job, data):
    sets = [{"path": str(data[0]), "resolution": 64}, {"path": str(data[1]), "resolution": 64, "network_weight": -1.0}]
    bench = bench_of(make_job(datasets=sets, train__batch_size=3))
    for micro in range(6):
        of = {bench.loader.items[bench.loader.placed[index].item].dataset for index in bench.loader.batches.at(micro)}
        assert len(of) == 1


def test_the_strength_of_a_set_is_that_of_the_network_while_it_learns(make_job, run, tmp_path, data):
    """A set of strength 0 teaches an adapter nothing; -1 turns its answer around."""
    for strength in (0.0, 1.0):
        run(make_job(datasets=[{"path": str(data[0]), "network_weight": strength}]), f"at{strength}")
    moved = [
        any(tensor.abs().max() > 0 for name, tensor in final(tmp_path, f"at{s}").items() if "lora_B" in name or "lora_up" in name)
        for s in (0.0, 1.0)
    ]
    assert moved == [False, True]


def test_a_prior_learns_nothing_where_the_network_has_changed_nothing(make_job, run, data):
    events = run(make_job(datasets=[{"path": str(data[0]), "is_reg": True, "prior_reg": True}], sample__sample_every=None))
    assert [event.loss for event in events if event.kind == "step"] == [0, 0, 0, 0]


def test_weights_of_sets_scale_the_loss(make_job, run, data):
    def losses(**more) -> list[float]:
        events = run(
            make_job(datasets=[{"path": str(data[0]), **more}], sample__sample_every=None, train__steps=1), f"w{len(str(more))}{more}"
        )
        return [event.loss for event in events if event.kind == "step"]

    (plain,), (double,) = losses(), losses(loss_multiplier=2.0)
    assert double == pytest.approx(2 * plain, rel=1e-5)


def test_masks_reach_the_loss(make_job, run, tmp_path, data):
    """What is black all over teaches nothing."""
    masks = tmp_path / "masks"
    masks.mkdir()
    for index in range(3):
        Image.new("L", (64, 64), 0).save(masks / f"{index}.png")
    sets = {"path": str(data[1]), "mask_path": str(masks), "resolution": 64}
    assert {event.loss for event in run(make_job(datasets=[sets]), "black") if event.kind == "step"} == {0.0}
    assert min(event.loss for event in run(make_job(datasets=[sets | {"invert_mask": True}]), "white") if event.kind == "step") > 0.1
    assert min(event.loss for event in run(make_job(datasets=[sets | {"mask_min_value": 0.5}]), "grey") if event.kind == "step") > 0.1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train__inverted_mask_prior": True}, "inverted_mask_prior needs masks"),
        ({"network": {"type": "full"}, "datasets": {"prior_reg": True}}, "prior_reg asks the base model"),
        ({"datasets": {"alpha_mask": True, "augmentations": [{"method": "Rotate"}]}}, "would stay where they are while Rotate moves"),
        ({"datasets": {"augmentations": [{"method": "Rotat"}]}}, "Did you mean Rotate"),
    ],
)
def test_settings_that_cannot_be_are_told_at_once(make_job, pictures, tmp_path, changes, told):
    if "datasets" in changes:
        changes = changes | {"datasets": [{"path": str(pictures), **changes["datasets"]}]}
    job = make_job(**changes)
    events = list(execute(job, RunFolder.create(tmp_path, job), Control()))
    assert events[-1].kind == "failed" and told in f"{events[-1].message} {events[-1].hint}" and not events[-1].detail


def test_nothing_is_read_ahead_after_a_run(make_job, run):
    import threading

    run(make_job())
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(("feed", "pictures"))]
