"""Draws with Flex.2: from words, after a control picture, or only where a mask is white.

FLUX's pipeline, whose denoiser reads more than noise. Beside the channels of each noisy token stand those of the picture
that is kept, of the mask, and of the control picture. What is not given is empty, and a mask that is not given is white.
Pictures are the means of what the autoencoder makes of them, so that a seed is one picture.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import FluxPipeline
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate


class Flex2Pipeline(FluxPipeline):
    """B batch, L tokens, C latent channels, H and W latent height and width."""

    def prepare_latents(self, batch_size: int, num_channels_latents: int, *arguments: Any) -> tuple[Tensor, Tensor]:
        """FLUX's noise: of the autoencoder's channels, not of all that the denoiser reads."""
        return super().prepare_latents(batch_size, self.vae.config.latent_channels, *arguments)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        control_image: Image.Image | None = None,
        inpaint_image: Image.Image | None = None,
        inpaint_mask: Image.Image | None = None,
        width: int | None = None,
        height: int | None = None,
        max_sequence_length: int = 512,
        **named: Any,
    ) -> Any:
        """A picture; ``named`` is what FLUX's pipeline takes. ``inpaint_mask`` is white where ``inpaint_image`` is drawn anew."""
        if (inpaint_image is None) != (inpaint_mask is None):
            raise ValueError("inpaint_image and inpaint_mask go together.")
        side = self.default_sample_size * self.vae_scale_factor
        width, height = width or side, height or side
        control = None if control_image is None else self._tokens(self._latents(control_image, width, height))
        kept = None
        if inpaint_image is not None and inpaint_mask is not None:
            latents = self._latents(inpaint_image, width, height)
            white = self._pixels(inpaint_mask.convert("L"), width, height)[:, :1] / 2 + 0.5
            mask = interpolate(white, latents.shape[-2:], mode="bilinear").to(latents)
            kept = self._tokens(torch.cat([latents * (1 - mask), mask], dim=1))

        def show(_: torch.nn.Module, arguments: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            noisy = given["hidden_states"]
            empty = torch.zeros_like(noisy)
            parts = [
                torch.cat([empty, torch.ones_like(noisy[..., :4])], dim=2) if kept is None else kept,
                empty if control is None else control,
            ]
            beside = [part.to(noisy).expand(len(noisy), -1, -1) for part in parts]
            return arguments, {**given, "hidden_states": torch.cat([noisy, *beside], dim=2)}

        hook = self.transformer.register_forward_pre_hook(show, with_kwargs=True)
        try:
            return super().__call__(prompt, width=width, height=height, max_sequence_length=max_sequence_length, **named)
        finally:
            hook.remove()

    def _pixels(self, picture: Image.Image, width: int, height: int) -> Tensor:
        return self.image_processor.preprocess(picture, height, width).to(self._execution_device, self.vae.dtype)

    def _latents(self, picture: Image.Image, width: int, height: int) -> Tensor:
        latents = self.vae.encode(self._pixels(picture.convert("RGB"), width, height)).latent_dist.mean
        return (latents - self.vae.config.shift_factor) * self.vae.config.scaling_factor

    def _tokens(self, latents: Tensor) -> Tensor:
        """BCHW to B L (4 C)."""
        return self._pack_latents(latents, *latents.shape)
