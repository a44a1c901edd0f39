"""Wan: its real sizes, its files' names, and first frames."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
from phases import bench_of
from test_parity import wrapped

from engine.control import Control
from engine.execute import execute
from engine.families.catalog import family_name
from engine.runs.folder import RunFolder
from engine.training.objectives import Batch, FlowMatching, Regression

CASES = {case.name: case for case in tiny.CASES}


@pytest.mark.parametrize(
    ("pipeline", "settings", "family"),
    [
        ("WanPipeline", {"transformer_2": [None, None], "boundary_ratio": None, "expand_timesteps": False}, "wan21"),
        ("WanPipeline", {}, "wan21"),
        ("WanPipeline", {"expand_timesteps": True}, "wan22_5b"),
        ("WanPipeline", {"transformer_2": ["diffusers", "WanTransformer3DModel"], "boundary_ratio": 0.875}, "wan22_14b"),
        ("WanImageToVideoPipeline", {"transformer_2": ["diffusers", "WanTransformer3DModel"]}, "wan22_14b_i2v"),
        ("WanImageToVideoPipeline", {"image_encoder": ["transformers", "CLIPVisionModel"]}, "wan21_i2v"),
    ],
)
def test_families_with_the_same_pipeline_are_told_apart_by_the_models_files(pipeline, settings, family, tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps(settings))
    assert family_name(None, pipeline, tmp_path) == family


def test_a_picture_is_a_video_of_one_frame():
    family = wrapped(CASES["wan 2.1"])
    picture = torch.rand(1, 3, 32, 48) * 2 - 1
    (mean, std), (again, _) = family.encode_pixels(picture), family.encode_pixels(picture[:, :, None])
    assert mean.shape == std.shape == (1, 4, 1, 8, 12) and torch.equal(mean, again)
    assert family.encode_pixels(picture[:, :, None].expand(-1, -1, 5, -1, -1))[0].shape == (1, 4, 3, 8, 12)


def test_latents_are_what_wan_decodes():
    """Latents made by encode_pixels, decoded as the pipeline decodes, are the VAE's own reconstruction."""
    family = wrapped(CASES["wan 2.1"])
    vae, video = family.pipe.vae, torch.rand(1, 3, 5, 32, 48) * 2 - 1
    mean, std = (torch.tensor(values).view(1, -1, 1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std))
    with torch.no_grad():
        ours, spread = family.encode_pixels(video)
        posterior = vae.encode(video).latent_dist
        torch.testing.assert_close(vae.decode(ours * std + mean).sample, vae.decode(posterior.mean).sample)
        torch.testing.assert_close(spread * std, posterior.std)


def test_a_frame_that_is_shown_does_not_count_in_the_loss(monkeypatch):
    """Whatever the model says of it: it stays as it is when a video is made."""
    family, rng = wrapped(CASES["wan 2.2 5b from a frame"]), torch.Generator()
    cond = {**family.encode_prompts(["a red fox"]), "control_0": torch.randn(1, 4, 1, 4, 6)}
    batch = Batch(torch.randn(1, 4, 3, 4, 6), torch.zeros(1, 4, 3, 4, 6), cond)
    predict = type(family).predict

    def wrong_at_first(self, *given):
        answer = predict(self, *given).clone()
        answer[:, :, 0] += 100
        return answer

    with torch.no_grad():
        right = Regression(FlowMatching()).loss(family, batch, rng.manual_seed(0))
        monkeypatch.setattr(type(family), "predict", wrong_at_first)
        assert Regression(FlowMatching()).loss(family, batch, rng.manual_seed(0)) == right
        shown = {name: value for name, value in cond.items() if name != "control_0"}
        assert Regression(FlowMatching()).loss(family, Batch(batch.mean, batch.std, shown), rng.manual_seed(0)) > 100


def test_the_first_frame_is_taken_from_the_data_itself(tmp_path):
    from PIL import Image
    from test_every_family import make_job

    case = CASES["wan 2.1 i2v"]
    base = tiny.save(case.make(), tmp_path / "base", **case.defaults)
    job = make_job(case, base, tmp_path, {"type": "lora", "rank": 4})
    job = job.model_copy(update={"datasets": [job.datasets[0].model_copy(update={"control_path": []})]})
    bench = bench_of(job)
    batch = bench.batch(0)
    assert torch.equal(batch.cond["control_0"], batch.mean)
    path = bench.loader.items[bench.loader.placed[bench.loader.batches.at(0)[0]].item].path
    with Image.open(path) as picture:
        features = wrapped(case).pipe.encode_image(picture.convert("RGB"))
    torch.testing.assert_close(batch.cond["image_embeds"], features, rtol=1e-4, atol=1e-4)


def test_stills_as_their_own_first_frames_are_warned_of(tmp_path):
    from test_every_family import make_job

    case = CASES["wan 2.1 i2v"]
    base = tiny.save(case.make(), tmp_path / "base", **case.defaults)
    with_frames = make_job(case, base, tmp_path, {"type": "lora", "rank": 4})
    without = with_frames.model_copy(update={"datasets": [with_frames.datasets[0].model_copy(update={"control_path": []})]})
    for job, warned in ((with_frames, False), (without, True)):
        events = execute(job, RunFolder.create(tmp_path / str(warned), job), Control())
        told = [event.message for event in events if event.kind == "warned"]
        assert any("of a still picture that is all there is" in message for message in told) == warned
