"""Flex.2: Flex.1 that reads a control picture, and a picture of which a part is drawn anew, beside the noise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import JobError
from .base import controls_in, cut_to_size
from .flex import Flex1
from .flex2_pipeline import Flex2Pipeline
from .layout import pack


class Flex2(Flex1):
    """What is kept of a picture and where it is drawn anew are B (C + 1) H W in the conditioning: ``inpaint``."""

    name = "flex2"
    pipeline_class = Flex2Pipeline
    max_controls = 1
    kwargs = {"control_dropout": 0.0, "inpaint_dropout": 0.0, "do_random_inpainting": False}

    @classmethod
    def check_settings(cls, kwargs):
        if kwargs["inpaint_dropout"] and not kwargs["do_random_inpainting"]:
            raise JobError("inpaint_dropout leaves out nothing where nothing is drawn anew.", "Set do_random_inpainting to true too.")

    def image_tokens(self, latents, cond):
        tokens, ids = super().image_tokens(latents, cond)
        empty, everywhere = torch.zeros_like(latents), torch.ones_like(latents[:, :1])
        inpaint = [cond["inpaint"]] if "inpaint" in cond else [empty, everywhere]
        beside = torch.cat([*inpaint, *(controls_in(cond) or [empty])], 1)
        return torch.cat([tokens, pack(beside.to(tokens))], 2), ids

    def practise(self, clean, cond, rng):
        cond = dict(cond)
        if self.kwargs["control_dropout"] and (controls := controls_in(cond)):
            cond["control_0"] = controls[0] * ~chosen(clean, self.kwargs["control_dropout"], rng)
        if self.kwargs["do_random_inpainting"]:
            mask = (blobs(clean, rng) | chosen(clean, self.kwargs["inpaint_dropout"], rng)).to(clean)
            cond["inpaint"] = torch.cat([clean * (1 - mask), mask], 1)
        return cond

    def references(self, pictures):
        return {"control_image": pictures[0]} if pictures else {}

    def sample(self, cond, negative, request, pictures=(), **more):
        # by itself the pipeline stretches them; references are cut as in training
        pictures = cut_to_size(pictures, request)
        return super().sample(cond, negative, request, pictures, **more)


def chosen(latents: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """B111: true for about this share of the rows."""
    return torch.rand(len(latents), 1, 1, 1, generator=rng, device=rng.device) < share


def blobs(latents: Tensor, rng: torch.Generator) -> Tensor:
    """B1HW: true in round shapes that take between a fifth and four fifths of each picture."""
    coarse = torch.rand(len(latents), 1, 4, 4, generator=rng, device=rng.device)
    smooth = interpolate(coarse, latents.shape[-2:], mode="bicubic")
    share = 0.2 + 0.6 * torch.rand(len(latents), generator=rng, device=rng.device)
    level = torch.stack([one.quantile(part) for one, part in zip(smooth.flatten(1), share, strict=True)])
    return smooth < level.view(-1, 1, 1, 1)
