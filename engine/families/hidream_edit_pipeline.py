"""Draws with HiDream E1: what the words make of a picture.

HiDream I1's pipeline, whose denoiser is shown the picture to the right of the noise, as one twice as wide. Guidance knows
three answers: with both, with the picture and the negative prompt, and with the prompt and an empty picture. The published
pipeline's last steps with the weights of I1 are left out: they are another model.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import HiDreamImagePipeline
from PIL import Image
from torch import Tensor, nn

from .hidream import side_of

_Call = tuple[tuple[Any, ...], dict[str, Any]]


class HiDreamImageEditingPipeline(HiDreamImagePipeline):
    """Takes all that HiDream I1's takes."""

    default_sample_size: float

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        image: Image.Image | None = None,
        negative_prompt: str | list[str] | None = None,
        width: int | None = None,
        height: int | None = None,
        guidance_scale: float = 5.0,
        image_guidance_scale: float = 2.0,
        prompt_embeds_t5: Tensor | None = None,
        prompt_embeds_llama3: Tensor | None = None,
        negative_prompt_embeds_t5: Tensor | None = None,
        negative_prompt_embeds_llama3: Tensor | None = None,
        pooled_prompt_embeds: Tensor | None = None,
        negative_pooled_prompt_embeds: Tensor | None = None,
        max_sequence_length: int = 128,
        max_seq: int = 0,
        **named: Any,
    ) -> Any:
        """A picture of the size of ``image`` unless told otherwise. ``guidance_scale`` up to 1 draws without guidance; ``max_seq`` as for ``make_room``."""
        if image is None:
            raise ValueError("HiDream E1 edits pictures: give it one as image.")
        guided = guidance_scale > 1
        t5, other_t5, llama, other_llama, pooled, other_pooled = self.encode_prompt(
            prompt, do_classifier_free_guidance=guided, negative_prompt=negative_prompt, max_sequence_length=max_sequence_length,
            prompt_embeds_t5=prompt_embeds_t5, prompt_embeds_llama3=prompt_embeds_llama3, pooled_prompt_embeds=pooled_prompt_embeds,
            negative_prompt_embeds_t5=negative_prompt_embeds_t5, negative_prompt_embeds_llama3=negative_prompt_embeds_llama3,
            negative_pooled_prompt_embeds=negative_pooled_prompt_embeds,
        )  # fmt: skip
        pixels = self.image_processor.preprocess(image.convert("RGB"), height, width)
        latents = self.vae.encode(pixels.to(self._execution_device, self.vae.dtype)).latent_dist.mean
        shown = (latents - self.vae.config.shift_factor) * self.vae.config.scaling_factor
        height, width = (side * self.vae_scale_factor for side in shown.shape[-2:])

        def show(_: nn.Module, arguments: tuple[Any, ...], given: dict[str, Any]) -> _Call:
            noisy = given["hidden_states"]
            beside = shown.to(noisy).expand_as(noisy)
            if guided:
                noisy, beside = torch.cat([noisy] * 3), torch.cat([torch.zeros_like(beside), beside, beside])
                given = {
                    **given,
                    "timesteps": torch.cat([given["timesteps"]] * 3),
                    "encoder_hidden_states_t5": torch.cat([t5, other_t5, t5]),
                    "encoder_hidden_states_llama3": torch.cat([llama, other_llama, llama], dim=1),
                    "pooled_embeds": torch.cat([pooled, other_pooled, pooled]),
                }
            return arguments, {**given, "hidden_states": torch.cat([noisy, beside], dim=-1)}

        def answer(_: nn.Module, arguments: tuple[Any, ...], answers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            left = answers[0][..., : shown.shape[-1]]
            if not guided:
                return (left,)
            blind, wordless, both = left.chunk(3)
            return (_steered(blind, wordless, both, guidance_scale, image_guidance_scale),)

        make_room(self.transformer, max_seq)
        hooks = [self.transformer.register_forward_pre_hook(show, with_kwargs=True), self.transformer.register_forward_hook(answer)]
        usual, self.default_sample_size = self.default_sample_size, side_of(width, height) / self.vae_scale_factor
        try:
            return super().__call__(
                prompt_embeds_t5=t5, prompt_embeds_llama3=llama, pooled_prompt_embeds=pooled, width=width, height=height,
                guidance_scale=1.0, **named,
            )  # fmt: skip
        finally:
            self.default_sample_size = usual
            for hook in hooks:
                hook.remove()


def _steered(blind: Tensor, wordless: Tensor, both: Tensor, words: float, picture: float) -> Tensor:
    """Guidance towards the words, nowhere longer than the answer to both, and from there away from the empty picture."""
    towards = wordless + words * (both - wordless)
    length = both.norm(dim=1, keepdim=True) / (towards.norm(dim=1, keepdim=True) + 1e-8)
    return blind + picture * (towards * length.clamp(max=1.0) - blind)


def make_room(transformer: nn.Module, patches: int = 0) -> None:
    """For two pictures side by side: its config tells of one. What it is not filled with counts, so there must be just as much.

    ``patches`` of both, where that is not what the config tells: E1-Full learnt with 4608, two of 768 pixels a side.
    """
    config = transformer.config
    transformer.max_seq = patches or 2 * config.max_resolution[0] * config.max_resolution[1] // config.patch_size**2
