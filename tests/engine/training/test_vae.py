"""The VAE process at a tiny size: real class, real pictures, real run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from engine.control import Control
from engine.errors import JobError
from engine.events import Event, Finished, Measured, Saved, Step
from engine.jobs.vae import VaeDataset, VaeJob, VaeTrain
from engine.runs.folder import RunFolder
from engine.training.vae import augmented, is_held_out, psnr, train_vae


@pytest.fixture
def job(tmp_path: Path) -> VaeJob:
    shape = AutoencoderKL(block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, latent_channels=4, sample_size=16,
                          down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)  # fmt: skip
    shape.save_config(tmp_path / "shape")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for name in range(12):
        for variant in range(2):
            pixels = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / f"{name:02d}__{variant}.png")
    settings = VaeTrain(steps=4, batch_size=4, resolution=16, holdout=0.3, validate_every=2, save_every=100)
    return VaeJob(
        name="tiny",
        vae_path=str(tmp_path / "shape"),
        from_scratch=True,
        datasets=[VaeDataset(path=str(pictures))],
        train=settings,
    )


def run(job: VaeJob, root: Path, stop_after: int | None = None, if_changed: str = "refuse") -> list[Event]:
    control, events = Control(if_changed=if_changed), []
    folder = RunFolder.create(root, job, exist_ok=True)
    for event in train_vae(job, folder, control):
        folder.append(event)
        events.append(event)
        if isinstance(event, Step) and event.step == stop_after:
            control.ask("stop")
    return events


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return AutoencoderKL.from_pretrained(folder).state_dict()


def test_a_run_ends_in_a_folder_that_diffusers_loads_with_latents_of_unit_spread(job, tmp_path):
    events = run(job, tmp_path / "runs")
    saved = [event for event in events if isinstance(event, Saved) and event.final]
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2, 3, 4]
    assert isinstance(events[-1], Finished) and events[-1].reason == "completed"
    vae = AutoencoderKL.from_pretrained(tmp_path / "runs" / "tiny" / saved[0].path)
    pixels = [np.asarray(Image.open(p).crop((2, 0, 22, 20)).resize((16, 16), Image.Resampling.LANCZOS))
              for p in sorted((tmp_path / "pictures").iterdir()) if not is_held_out(p, 0.3)]  # fmt: skip
    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        latents = (vae.encode(batch).latent_dist.mean - vae.config.shift_factor) * vae.config.scaling_factor
    assert latents.mean().abs() < 0.02 and abs(latents.std() - 1) < 0.02


def test_a_stopped_run_continues_to_the_same_weights_as_one_that_was_not(job, tmp_path):
    run(job, tmp_path / "whole")
    stopped = run(job, tmp_path / "parts", stop_after=2)
    assert isinstance(stopped[-1], Finished) and stopped[-1].reason == "stopped"
    continued = run(job, tmp_path / "parts")
    assert [event.step for event in continued if isinstance(event, Step)] == [3, 4]
    whole, parts = weights(tmp_path / "whole/tiny/tiny"), weights(tmp_path / "parts/tiny/tiny")
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_run_whose_pictures_or_settings_changed_asks_before_it_goes_on(job, tmp_path):
    run(job, tmp_path / "runs", stop_after=2)
    assert not [event for event in run(job, tmp_path / "runs", stop_after=3) if event.kind == "asked"]
    (tmp_path / "pictures" / "00__0.png").unlink()
    other = job.model_copy(update={"train": job.train.model_copy(update={"lr": 1e-3, "steps": 5})})
    with pytest.raises(JobError, match=r"pictures had 24, has 23 pictures, train.lr was 0.002, is 0.001\."):
        run(other, tmp_path / "runs")
    events = run(other, tmp_path / "runs", if_changed="go on")
    assert [event.step for event in events if event.kind in {"asked", "agreed", "step"}] == [3, 3, 4, 5]


def test_quality_is_measured_on_held_out_pictures_every_so_often(job, tmp_path):
    measured = [event for event in run(job, tmp_path / "runs") if isinstance(event, Measured)]
    assert [event.step for event in measured] == [2, 4] and all(5 < event.value < 30 for event in measured)


def test_variants_of_one_picture_are_on_the_same_side(job):
    sides = {stem: {is_held_out(Path(f"{stem}__{n}.png"), 0.3) for n in range(5)} for stem in map(str, range(200))}
    assert all(len(side) == 1 for side in sides.values())
    assert 40 < sum(True in side for side in sides.values()) < 80


def test_a_perfect_autoencoder_measures_high_and_a_blind_one_low():
    class Same:
        latent_dist = property(lambda self: self)

        def encode(self, pixels):
            self.mean = pixels
            return self

        def decode(self, latents):
            self.sample = latents * self.gain
            return self

    pictures = torch.randint(0, 255, (4, 3, 8, 8), dtype=torch.uint8)
    perfect, blind = Same(), Same()
    perfect.gain, blind.gain = 1, 0
    assert psnr(perfect, pictures, torch.device("cpu")) > 50 > 12 > psnr(blind, pictures, torch.device("cpu"))


def test_augmentation_draws_the_same_for_the_same_step_and_leaves_the_batch_alone():
    pixels = torch.rand(8, 3, 4, 4)
    before = pixels.clone()
    first, again, other = (augmented(pixels, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other) and torch.equal(pixels, before)


@pytest.mark.parametrize("wrong", ["missing", "empty", "broken", "no shape"])
def test_wrong_input_is_told_in_a_sentence(job, tmp_path, wrong):
    folder = tmp_path / wrong
    if wrong != "missing":
        folder.mkdir()
    if wrong == "broken":
        (folder / "a.png").write_bytes(b"no picture")
    changed = {"vae_path": str(folder)} if wrong == "no shape" else {"datasets": [VaeDataset(path=str(folder))]}
    with pytest.raises(JobError) as error:
        run(job.model_copy(update=changed), tmp_path / "runs")
    assert error.value.hint
