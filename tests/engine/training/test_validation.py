"""What is measured on pictures that are not trained on, and what of them is held back."""

from __future__ import annotations

import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from engine.data.scan import scan
from engine.errors import JobError
from engine.jobs import load_job
from engine.training.heldout import hold_back, with_folder


def measured(events, name="validation loss"):
    return [(event.step, event.value) for event in events if event.kind == "measured" and event.name == name]


def weights(tmp_path, root):
    return load_file(tmp_path / root / "tiny" / "tiny.safetensors")


@pytest.fixture
def others(tmp_path):
    """Pictures that no data set has."""
    folder = tmp_path / "others"
    folder.mkdir()
    for index, colour in enumerate(["pink", "gray", "navy"]):
        Image.new("RGB", (64, 64) if index else (96, 48), colour).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"[trigger], a {colour} field")
    return folder


def test_it_is_measured_before_the_first_step_every_so_many_and_at_the_end(make_job, run):
    events = run(make_job(validation={"every": 3}, train__steps=7))
    assert [step for step, _ in measured(events)] == [0, 3, 6, 7]
    assert len({value for _, value in measured(events)}) == 4


def test_a_run_ends_in_the_same_bytes_with_validation_and_without(make_job, run, tmp_path, others):
    train = {"steps": 6, "lr": 1e-3, "batch_size": 2, "optimizer": "adamw", "ema_config": {"use_ema": True}}
    settings = {"train": train, "network": {"type": "lora", "rank": 4, "dropout": 0.3}}
    run(make_job(**settings), "plain")
    run(make_job(**settings, validation={"every": 2, "path": str(others)}), "watched")
    for name in ("tiny.safetensors", "state/000000006/optimizer.safetensors", "state/000000006/ema.safetensors"):
        assert (tmp_path / "plain" / "tiny" / name).read_bytes() == (tmp_path / "watched" / "tiny" / name).read_bytes(), name


def test_it_is_the_mean_squared_error_of_the_velocity_at_these_noise_levels(make_job, run, others, monkeypatch):
    """Against an independent computation on what the model was shown."""
    from engine.training import validation

    seen = []
    inner = validation.Regression.losses

    def spy(self, family, batch, rng):
        state = rng.get_state()
        yield from inner(self, family, batch, rng)
        again = torch.Generator().manual_seed(0)
        again.set_state(state)
        if not torch.is_grad_enabled():
            clean = batch.mean + batch.std * torch.randn(batch.std.shape, generator=again)
            noise = torch.randn(clean.shape, generator=again)
            for sigma in (0.3, 0.8):
                noisy, answer = (1 - sigma) * clean + sigma * noise, noise - clean
                said = family.predict(noisy, torch.full((len(clean),), sigma), batch.cond)
                seen.append(((said - answer).square().mean(), len(clean), sigma, self.settings.min_denoising_steps))

    monkeypatch.setattr(validation.Regression, "losses", spy)
    job = make_job(validation={"every": 100, "path": str(others), "sigmas": [0.3, 0.8]}, train__steps=1, sample__sample_every=None)
    (step, value), *_ = measured(run(job))
    first = [one for one in seen if one[3] == round(1000 * (1 - one[2]))][:4]  # two batches, two levels
    assert step == 0 and sorted(count for _, count, _, _ in first) == [1, 1, 2, 2]
    assert value == pytest.approx(float(sum(loss * count for loss, count, _, _ in first) / 6), rel=1e-4)


def test_it_is_measured_with_the_averaged_weights(make_job, run, others):
    train = {"steps": 4, "lr": 1e-2, "batch_size": 2, "optimizer": "adamw"}
    settings = {"validation": {"every": 4, "path": str(others)}, "sample__sample_every": None}
    plain = measured(run(make_job(train=train, **settings), "plain"))
    slow = measured(run(make_job(train=train | {"ema_config": {"use_ema": True}}, **settings), "averaged"))
    assert plain[0] == slow[0] and plain[1] != slow[1]


def test_a_share_is_held_back_with_its_mirrored_ones_and_its_copies_and_never_trained(make_job, run, tmp_path, pictures, monkeypatch):
    folder = shutil.copytree(pictures, tmp_path / "data")
    shutil.copy(folder / "0.png", folder / "again.png")
    shutil.copy(folder / "0.txt", folder / "again.txt")
    data = {"path": str(folder), "flip_x": True, "caption_dropout_rate": 0.3}
    job = make_job(datasets=[data], validation={"every": 2, "share": 0.34})
    items = scan(job.datasets[0], trigger="zzz")
    kept, held = hold_back(job, items)
    content = {path: path.read_bytes() for path in folder.glob("*.png")}
    assert len(held) == 2 and not any(item.flip for item in held)
    assert not {content[item.path] for item in kept} & {content[item.path] for item in held}
    assert {content[item.path] for item in kept} | {content[item.path] for item in held} == set(content.values())

    from engine.training.loader import Loader

    shown = []
    load = Loader.load
    monkeypatch.setattr(Loader, "load", lambda self, micro: shown.append((type(self.batches).__name__, load(self, micro))) or shown[-1][1])
    run(job)
    trained = {item.path for kind, loaded in shown if kind == "Batches" for item in loaded.items}
    measured_on = {item.path for kind, loaded in shown if kind == "InOrder" for item in loaded.items}
    assert trained == {item.path for item in kept} and measured_on == {item.path for item in held}


def test_the_same_pictures_are_held_back_under_other_names_and_in_another_place(make_job, tmp_path, pictures):
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in sorted(pictures.glob("*.png")):
        shutil.copy(path, moved / f"z{9 - int(path.stem)}.png")
        (moved / f"z{9 - int(path.stem)}.txt").write_text("x")
    found = []
    for folder in (pictures, moved):
        job = make_job(datasets=[{"path": str(folder)}], validation={"every": 2, "share": 0.5})
        _, held = hold_back(job, scan(job.datasets[0]))
        found.append({item.path.read_bytes() for item in held})
    assert len(found[0]) == 3 and found[0] == found[1]


def test_one_picture_cannot_be_trained_on_and_held_back(make_job, run, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "a.png")
    (folder / "a.txt").write_text("a field")
    failed = run(make_job(datasets=[{"path": str(folder)}], validation={"every": 2}))[-1]
    assert failed.kind == "failed" and "one picture" in failed.message and "validation.path" in failed.hint


def test_pictures_that_are_named_one_by_one_are_measured_as_a_folder_of_them_is(make_job, run, tmp_path, others):
    items = [{"image_path": str(others / f"{i}.png"), "prompt": (others / f"{i}.txt").read_text()} for i in (2, 0, 1)]
    train = {"steps": 2, "lr": 1e-3, "batch_size": 1, "optimizer": "adamw"}
    named = measured(run(make_job(train=train, validation={"every": 1, "items": items}), "named"))
    assert len(named) == 3 and named == measured(run(make_job(train=train, validation={"every": 1, "path": str(others)}), "folder"))
    two = measured(run(make_job(train=train, validation={"every": 1, "items": items[:2]}), "two"))
    assert two[0] != named[0]


def test_a_named_picture_that_is_not_there_or_none_is_told_by_its_path(make_job, others):
    (others / "notes.md").write_text("x")
    for name, told in (("gone.png", "is not there"), ("notes.md", "is no picture")):
        job = make_job(validation={"every": 1, "items": [{"image_path": str(others / "0.png")}, {"image_path": str(others / name)}]})
        with pytest.raises(JobError, match=rf"validation\.items: .*{name} {told}"):
            with_folder(job)


def test_a_named_picture_that_is_trained_on_is_no_longer(make_job, pictures):
    job = make_job(validation={"every": 2, "items": [{"image_path": str(pictures / "0.png"), "prompt": "x"}]})
    seen = with_folder(job)
    kept, held = hold_back(job, [item for index, one in enumerate(seen.datasets) for item in scan(one, index=index)])
    assert (
        [(item.path.name, item.caption) for item in held] == [("0.png", "x")]
        and "0.png" not in {item.path.name for item in kept}
        and len(kept) == 5
    )


def test_keys_without_every_are_an_error(make_job):
    with pytest.raises(Exception, match="validation.every"):
        make_job(validation={"share": 0.2})
    with pytest.raises(Exception, match="path and items both"):
        make_job(validation={"every": 2, "path": "x", "items": [{"image_path": "y"}]})
    job = make_job()
    assert load_job(job.model_dump(mode="json")) == job
