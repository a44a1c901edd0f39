"""What judges restored pictures in a training of an autoencoder, and a training of the decoder alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from test_vae import job, run, weights  # noqa: F401
from transformers import (
    Dinov2Config,
    Dinov2Model,
    EfficientNetConfig,
    EfficientNetModel,
    ResNetConfig,
    ResNetModel,
)

from engine.errors import JobError
from engine.events import Phase, Step
from engine.training.critic import Critic
from engine.training.perceptual import Perceptual


@pytest.fixture(scope="module")
def eye(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("eye")
    ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}')
    return folder


def test_the_perceptual_loss_is_the_distance_of_unit_features(eye):
    """Against the model asked by itself."""
    restored, pixels = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1
    model = ResNetModel.from_pretrained(eye).eval()
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    each = []
    with torch.no_grad():
        one, other = (model((x * 0.5 + 0.5 - mean) / std, output_hidden_states=True).hidden_states for x in (restored, pixels))
    for left, right in zip(one, other, strict=True):
        unit = [x / x.norm(dim=1, keepdim=True).clamp(min=1e-12) for x in (left, right)]
        each.append(((unit[0] - unit[1]) ** 2).sum(1).mean())
    loss = Perceptual(str(eye), torch.device("cpu"))
    torch.testing.assert_close(loss(restored, pixels), sum(each) / len(each))
    assert loss(pixels, pixels) == 0
    restored.requires_grad_()
    loss(restored, pixels).backward()
    assert restored.grad.abs().max() > 0


@pytest.mark.parametrize("kind", ["tokens", "convolutions"])
def test_models_of_tokens_and_of_maps_can_look(tmp_path, kind):
    if kind == "tokens":
        Dinov2Model(Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)).save_pretrained(
            tmp_path
        )
    else:
        EfficientNetModel(EfficientNetConfig(width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128)).save_pretrained(tmp_path)
    near, far = torch.rand(1, 3, 40, 40), torch.rand(1, 3, 40, 40)
    loss = Perceptual(str(tmp_path), torch.device("cpu"))
    assert loss(near, near) == 0 and loss(near, far) > 0


def test_a_critic_learns_to_tell_sharp_from_blurred():
    critic, rng = Critic(2e-3, 0, torch.device("cpu")), torch.Generator().manual_seed(0)
    for _ in range(40):
        sharp = torch.rand(8, 3, 32, 32, generator=rng) * 2 - 1
        critic.learn(sharp, torch.nn.functional.avg_pool2d(sharp, 3, 1, 1))
    sharp = torch.rand(8, 3, 32, 32, generator=rng) * 2 - 1
    assert critic.against(sharp) < critic.against(torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)) - 0.5


@pytest.mark.parametrize(("real", "fake", "learns"), [(1.5, -1.5, False), (0.5, -1.5, True), (1.5, -0.5, True)])
def test_a_critic_that_is_sure_of_both_learns_no_more(real, fake, learns):
    """By hinge loss, what is judged beyond one is as good as at one; what is nearer moves away from the other."""
    critic = Critic(0.1, 0, torch.device("cpu"))
    critic.model = torch.nn.Conv2d(3, 1, 1)  # it says the red of a picture
    with torch.no_grad():
        critic.model.weight.copy_(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))
        critic.model.bias.zero_()
    critic.optimizer = torch.optim.SGD(critic.model.parameters(), lr=0.1)
    critic.learn(torch.full((2, 3, 4, 4), real), torch.full((2, 3, 4, 4), fake))
    moved = critic.model.weight.detach().flatten() - torch.tensor([1.0, 0.0, 0.0])
    wanted = 0.1 * ((real if real < 1 else 0.0) - (fake if fake > -1 else 0.0))  # minus the slope of max(0, 1 - real) + max(0, 1 + fake)
    torch.testing.assert_close(moved, torch.full((3,), wanted))
    assert bool(moved.any()) == learns


def test_a_stopped_run_with_judges_continues_to_the_same_weights(job, tmp_path, eye):  # noqa: F811
    judged = {"perceptual_weight": 0.5, "perceptual_model": str(eye), "critic_weight": 0.1, "critic_start": 1}
    settings = job.model_copy(update={"train": job.train.model_copy(update=judged)})
    run(settings, tmp_path / "whole")
    run(settings, tmp_path / "parts", stop_after=2)
    assert [event.step for event in run(settings, tmp_path / "parts") if isinstance(event, Step)] == [3, 4]
    whole, parts = weights(tmp_path / "whole/tiny/tiny"), weights(tmp_path / "parts/tiny/tiny")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    for left_out in ({"perceptual_weight": 0.0}, {"critic_weight": 0.0}):
        run(job.model_copy(update={"train": job.train.model_copy(update=judged | left_out)}), tmp_path / "other")
        other = weights(tmp_path / "other/tiny/tiny")
        assert any(not torch.equal(whole[name], other[name]) for name in whole)  # each has a say
        import shutil

        shutil.rmtree(tmp_path / "other")


def test_only_the_decoder_learns_and_latents_stay(job, tmp_path):  # noqa: F811
    run(job, tmp_path / "first")
    made = tmp_path / "first/tiny/tiny"
    settings = job.model_copy(
        update={"vae_path": str(made), "from_scratch": False, "train": job.train.model_copy(update={"train_encoder": False})}
    )
    events = run(settings, tmp_path / "second")
    assert not any(isinstance(event, Phase) and "latents" in event.name for event in events)
    before, after = AutoencoderKL.from_pretrained(made), AutoencoderKL.from_pretrained(tmp_path / "second/tiny/tiny")
    assert before.config.scaling_factor == after.config.scaling_factor
    pixels = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(before.encode(pixels).latent_dist.mean, after.encode(pixels).latent_dist.mean)
        assert not torch.equal(before.decode(torch.ones(1, 4, 8, 8)).sample, after.decode(torch.ones(1, 4, 8, 8)).sample)


def test_a_critic_cannot_come_on_the_way_and_a_judge_needs_eyes(job, tmp_path):  # noqa: F811
    run(job, tmp_path / "run", stop_after=2)
    for changes, told in (
        ({"critic_weight": 0.1}, "critic_weight"),
        ({"perceptual_weight": 0.1}, "needs a model"),
        ({"perceptual_weight": 0.1, "perceptual_model": str(tmp_path)}, "cannot be loaded"),
    ):
        with pytest.raises(JobError, match=told) as error:
            run(job.model_copy(update={"train": job.train.model_copy(update=changes)}), tmp_path / "run", if_changed="go on")
        assert error.value.hint
