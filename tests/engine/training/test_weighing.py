"""What counts in the loss: masks, weights, and what the base model says."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import Tensor

from engine.jobs.train import Train
from engine.training.objectives import Batch, FlowMatching, Regression, averaged


class Model:
    """Answers with one number everywhere; the base model answers zero. Latents are BCHW."""

    latent_multiple = 1

    def __init__(self, answer: float, counts: Tensor | None = None):
        self.answer = torch.tensor(answer, requires_grad=True)
        self.is_base, self._counts = False, counts

    @contextlib.contextmanager
    def base(self):
        self.is_base = True
        yield
        self.is_base = False

    def practise(self, clean, cond, rng):
        return cond

    def counts(self, noisy, cond):
        return self._counts

    def predict_within(self, span, noisy, sigma, cond):
        return torch.zeros_like(noisy) if self.is_base else self.answer.expand_as(noisy)


def latents(count: int = 2) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(count, 3, 4, 4)


def loss(model: Model, batch: Batch, prior: float = 0.0, **settings) -> Tensor:
    train = Train(timestep_type="linear", inverted_mask_prior=prior > 0, inverted_mask_prior_multiplier=prior, **settings)
    return Regression(FlowMatching(train), train, model.base).loss(model, batch, torch.Generator().manual_seed(0))


def half() -> Tensor:
    mask = torch.zeros(2, 1, 4, 4)
    mask[..., :2] = 1
    return mask


def answers(mean: Tensor) -> Tensor:
    """The right answers that the objective draws with that seed."""
    rng = torch.Generator().manual_seed(0)
    torch.randn(mean.shape, generator=rng)  # of the posterior
    return torch.randn(mean.shape, generator=rng) - mean


def test_a_mask_leaves_out_what_is_black_however_large_it_is():
    mean, std = latents()
    right = answers(mean)
    by_hand = ((0.5 - right[..., :2]) ** 2).mean()
    torch.testing.assert_close(loss(Model(0.5), Batch(mean, std, {}, mask=half())), by_hand)
    torch.testing.assert_close(loss(Model(0.5), Batch(mean, std, {})), ((0.5 - right) ** 2).mean())
    torch.testing.assert_close(loss(Model(0.5), Batch(mean, std, {}, mask=torch.ones(2, 1, 4, 4))), ((0.5 - right) ** 2).mean())


def test_a_mask_and_frames_that_are_shown_both_leave_out():
    mean, std = latents()
    shown = torch.ones(1, 1, 4, 4)
    shown[:, :, :2] = 0
    by_hand = ((0.5 - answers(mean)[:, :, 2:, :2]) ** 2).mean()
    torch.testing.assert_close(loss(Model(0.5, shown), Batch(mean, std, {}, mask=half())), by_hand)


def test_each_picture_counts_alike_however_little_of_it_is_learned():
    error = torch.stack([torch.full((1, 2, 2), 4.0), torch.full((1, 2, 2), 1.0)])
    little = torch.tensor([[[[1.0, 0], [0, 0]]], [[[1.0, 1], [1, 1]]]])
    assert averaged(error, little, None) == 2.5
    assert averaged(error, little, torch.tensor([3.0, 1.0])) == 6.5
    assert averaged(error, None, torch.tensor([0.0, 2.0])) == 1
    assert averaged(error, torch.zeros(2, 1, 2, 2), None) == 0  # nothing is learned, and nothing is divided by nothing


def test_batches_one_after_the_other_count_as_one_large_batch():
    """Gradient accumulation, with masks of different sizes and weights."""
    error = torch.rand(4, 3, 4, 4)
    masks, weights = (torch.rand(4, 1, 4, 4) > 0.5).float(), torch.tensor([1.0, 2, 3, 4])
    parts = [averaged(error[i : i + 2], masks[i : i + 2], weights[i : i + 2]) for i in (0, 2)]
    torch.testing.assert_close(sum(parts) / 2, averaged(error, masks, weights))


def test_a_prior_is_learned_from_the_base_model_and_not_from_the_picture():
    mean, std = latents()
    model = Model(0.5)
    total = loss(model, Batch(mean, std, {}, is_prior=True))
    assert total == 0.25 and not model.is_base  # the base model says 0
    total.backward()
    assert model.answer.grad == 1


@pytest.mark.parametrize("multiplier", [0.5, 2.0])
def test_outside_the_mask_the_base_model_is_kept(multiplier):
    mean, std = latents()
    batch = Batch(mean, std, {}, mask=half())
    inside = loss(Model(0.5), batch)
    torch.testing.assert_close(loss(Model(0.5), batch, multiplier), inside + multiplier * 0.25)
    whole = Batch(mean, std, {}, mask=torch.ones(2, 1, 4, 4))
    torch.testing.assert_close(loss(Model(0.5), whole, multiplier), loss(Model(0.5), whole))
    plain = Batch(mean, std, {})
    torch.testing.assert_close(loss(Model(0.5), plain, multiplier), loss(Model(0.5), plain))


OTHER = {"unconditional": {}, "class": {}, "blank": {}}


class Prompted(Model):
    """Answers 0.5 to its own prompt, and what stands in ``told`` to others; the base model answers 0.1 to all."""

    told = {"unconditional": 0.2, "class": 0.4, "blank": 0.3}

    def predict_within(self, span, noisy, sigma, cond):
        if self.is_base:
            return torch.full_like(noisy, 0.1)
        value = self.told.get(cond.get("kind"), None)
        return (self.answer if value is None else self.answer - 0.5 + value).expand_as(noisy)


def prompted(*kinds: str) -> Batch:
    mean, std = latents()
    return Batch(mean, std, {}, others={kind: {"kind": kind} for kind in kinds})


def test_guidance_leads_the_right_answer_away_from_that_for_the_other_prompt():
    batch = prompted("unconditional")
    right = answers(batch.mean)
    target = 0.2 + 3 * (right - 0.2)
    torch.testing.assert_close(loss(Prompted(0.5), batch, do_guidance_loss=True, guidance_loss_target=3), ((0.5 - target) ** 2).mean())
    plain = loss(Prompted(0.5), batch, do_guidance_loss=True, guidance_loss_target=1)
    torch.testing.assert_close(plain, ((0.5 - right) ** 2).mean())


def test_cfg_zero_measures_from_the_part_that_the_other_answer_explains():
    batch = prompted("unconditional")
    right = answers(batch.mean)
    away = torch.full_like(right, 0.2)
    share = torch.stack([(r.double() * a.double()).sum() / (a.double() ** 2).sum() for r, a in zip(right, away)]).float().view(-1, 1, 1, 1)
    target = share * 0.2 + 3 * (right - share * 0.2)
    found = loss(Prompted(0.5), batch, do_guidance_loss=True, guidance_loss_target=3, do_guidance_loss_cfg_zero=True)
    torch.testing.assert_close(found, ((0.5 - target) ** 2).mean())


def test_guidance_by_the_noise_level_is_none_where_there_is_no_noise():
    batch = prompted("unconditional")
    right, rng = answers(batch.mean), torch.Generator().manual_seed(0)
    torch.randn(batch.mean.shape, generator=rng), torch.randn(batch.mean.shape, generator=rng)
    level = torch.rand(2, generator=rng).view(-1, 1, 1, 1)
    target = 0.2 + (1 + 2 * level) * (right - 0.2)
    found = loss(Prompted(0.5), batch, do_guidance_loss=True, guidance_loss_target=3, guidance_loss_schedule="sigma")
    torch.testing.assert_close(found, ((0.5 - target) ** 2).mean())


def test_differential_guidance_aims_past_the_right_answer():
    mean, std = latents()
    right = answers(mean)
    model = Model(0.5)
    found = loss(model, Batch(mean, std, {}), do_differential_guidance=True, differential_guidance_scale=3)
    torch.testing.assert_close(found, (9 * (0.5 - right) ** 2).mean())
    found.backward()
    torch.testing.assert_close(model.answer.grad, (2 * 3 * (0.5 - right)).mean())


@pytest.mark.parametrize(("kind", "key", "said"), [("class", "diff_output_preservation", 0.4), ("blank", "blank_prompt_preservation", 0.3)])
def test_preservation_adds_how_far_the_other_answer_has_moved(kind, key, said):
    batch = prompted(kind)
    model = Prompted(0.5)
    parts = {multiplier: loss(model, batch, **{f"{key}_multiplier": multiplier}) for multiplier in (0.0, 2.0)}
    torch.testing.assert_close(parts[2.0] - parts[0.0], torch.tensor(2 * (said - 0.1) ** 2))
    train = Train()
    each = list(Regression(FlowMatching(train), train, model.base).losses(model, batch, torch.Generator().manual_seed(0)))
    assert len(each) == 2
    each[1].backward()  # a graph of its own
    torch.testing.assert_close(model.answer.grad, torch.tensor(2 * (said - 0.1)))


def test_a_ceiling_keeps_the_direction_and_shortens_the_step():
    error = torch.tensor([[[[4.0]]], [[[0.5]]]], requires_grad=True)
    found = averaged(error, None, None, 1.0)
    assert found.item() == 0.75
    found.backward()
    torch.testing.assert_close(error.grad.flatten(), torch.tensor([0.125, 0.5]))
