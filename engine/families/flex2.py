"""Flex.2: Flex.1 that reads a control picture, and a picture of which a part is drawn anew, beside the noise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

from .base import controls_in, cut_to_size
from .flex import Flex1
from .flex2_pipeline import Flex2Pipeline
from .layout import pack


class Flex2(Flex1):
    """What is kept of a picture and where it is drawn anew are B (C + 1) H W in the conditioning: ``inpaint``."""

    name = "flex2"
    pipeline_class = Flex2Pipeline
    max_controls = 1
    inpaints = True
    kwargs = {
        "control_dropout": 0.0, "inpaint_dropout": 0.0, "do_random_inpainting": False, "inpaint_random_chance": 0.0,
        "invert_inpaint_mask_chance": 0.0, "random_blur_mask": False, "random_dialate_mask": False,
    }  # fmt: skip

    def without_effect(self, erased):
        need_a_part = [key for key in self.kwargs if key not in ("control_dropout", "do_random_inpainting")]
        return [] if erased or self.kwargs["do_random_inpainting"] else [key for key in need_a_part if self.kwargs[key]]

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
        anew = self._anew(clean, cond.pop("anew", None), rng)
        if anew is not None:
            cond["inpaint"] = self._shown_of(clean, anew, rng)
        return cond

    def _anew(self, clean, told, rng):
        """B1HW: 1 where each picture is drawn anew; ``told`` is what the data says, or None. None where nothing is kept of any."""
        by_chance = self.kwargs["do_random_inpainting"]
        if told is None:
            return blobs(clean, rng).to(clean) if by_chance else None
        told = told.to(clean)
        replaced = chosen(clean, self.kwargs["inpaint_random_chance"], rng)
        if by_chance:
            replaced = replaced | whole(told)
        elif not self.kwargs["inpaint_random_chance"]:
            return told
        return torch.where(replaced, blobs(clean, rng).to(clean), told)

    def _shown_of(self, clean, anew, rng):
        """What is kept of each picture, and where it is drawn anew: B (C + 1) H W."""
        nothing = whole(anew) | chosen(clean, self.kwargs["inpaint_dropout"], rng)
        if self.kwargs["random_blur_mask"]:
            anew = torch.where(chosen(clean, 0.5, rng), blurred(anew, rng), anew)
        anew = torch.where(chosen(clean, self.kwargs["invert_inpaint_mask_chance"], rng), 1 - anew, anew)
        kept = clean * (1 - anew) * ~nothing
        if self.kwargs["random_dialate_mask"]:  # what is kept is then not quite what is marked, as in masks by hand
            anew = 1 - resized(1 - anew, rng)
        return torch.cat([kept, torch.where(nothing, 1.0, anew)], 1)

    def references(self, pictures):
        return {"control_image": pictures[0]} if pictures else {}

    def sample(self, cond, negative, request, pictures=(), **more):
        # by itself the pipeline stretches them; references are cut as in training
        pictures = cut_to_size(pictures, request)
        return super().sample(cond, negative, request, pictures, **more)


def chosen(latents: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """B111: true for about this share of the rows."""
    return torch.rand(len(latents), 1, 1, 1, generator=rng, device=rng.device) < share


def whole(anew: Tensor) -> Tensor:
    """B111: true for rows that are drawn anew everywhere."""
    return (anew > 0.999).all(3, keepdim=True).all(2, keepdim=True)


def blobs(latents: Tensor, rng: torch.Generator) -> Tensor:
    """B1HW: true in round shapes that take between a fifth and four fifths of each picture."""
    coarse = torch.rand(len(latents), 1, 4, 4, generator=rng, device=rng.device)
    smooth = interpolate(coarse, latents.shape[-2:], mode="bicubic")
    share = 0.2 + 0.6 * torch.rand(len(latents), generator=rng, device=rng.device)
    level = torch.stack([one.quantile(part) for one, part in zip(smooth.flatten(1), share, strict=True)])
    return smooth < level.view(-1, 1, 1, 1)


def blurred(mask: Tensor, rng: torch.Generator) -> Tensor:
    """B1HW, each softened over 3 to 9 latents, by a Gaussian as wide as image libraries take for that many."""
    sizes = (3, 5, 7, 9)
    drawn = torch.randint(len(sizes), (len(mask),), generator=rng, device=rng.device)
    return torch.stack([_gaussian(mask, size) for size in sizes])[drawn, torch.arange(len(mask), device=rng.device)]


def _gaussian(mask: Tensor, size: int) -> Tensor:
    sigma, half = 0.15 * size + 0.35, size // 2
    line = torch.exp(-0.5 * (torch.arange(-half, half + 1, device=mask.device, dtype=mask.dtype) / sigma) ** 2)
    kernel = line / line.sum()
    smooth = conv2d(pad(mask, (half, half, 0, 0), "replicate"), kernel.view(1, 1, 1, -1))
    return conv2d(pad(smooth, (0, 0, half, half), "replicate"), kernel.view(1, 1, -1, 1))


def resized(mask: Tensor, rng: torch.Generator) -> Tensor:
    """B1HW of 0 and 1: what is 1 grown or shrunk a little at its edges, by up to a fortieth of the width."""
    sizes = range(1, max(3, int(mask.shape[-1] * 0.05)) + 1, 2)
    drawn = torch.randint(len(sizes), (len(mask),), generator=rng, device=rng.device)
    around = torch.stack([avg_pool2d(mask, size, 1, size // 2, count_include_pad=False) for size in sizes])[
        drawn, torch.arange(len(mask), device=rng.device)
    ]
    level = 0.2 + 0.6 * torch.rand(len(mask), 1, 1, 1, generator=rng, device=rng.device)
    return torch.where((drawn == 0).view(-1, 1, 1, 1), mask, (around > level).to(mask))
