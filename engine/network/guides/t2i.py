"""T2I-Adapters of Stable Diffusion 1.5 to XL. Tried with diffusers 0.42."""

from __future__ import annotations

from typing import Any

from diffusers import T2IAdapter
from torch import nn

from ...jobs.adapters import T2i
from .base import GuideNetwork, Keywords, repeated


class T2iNetwork(GuideNetwork):
    """Looks at the control picture once, and adds to what the UNet makes of the latents on the way down."""

    kind = T2IAdapter
    takes = "pixels"
    part = "adapter"

    @staticmethod
    def new(settings: T2i, denoiser: nn.Module, vae_scale: int) -> nn.Module:
        of, widths = denoiser.config, list(denoiser.config.block_out_channels)
        if of.down_block_types[0] != "DownBlock2D":
            return T2IAdapter(channels=widths, num_res_blocks=settings.num_res_blocks, downscale_factor=vae_scale)
        # the first block of XL ends with half the size, and there the first answer is added; the last one is for the middle
        return T2IAdapter(
            channels=[*widths, widths[-1]],
            num_res_blocks=settings.num_res_blocks,
            downscale_factor=2 * vae_scale,
            adapter_type="full_adapter_xl",
        )

    def answer(self, args: tuple[Any, ...], keywords: Keywords) -> dict[str, Any]:
        states = self.model((self._shown[0] + 1) / 2)  # pipelines show it in [0, 1]
        return {"down_intrablock_additional_residuals": [repeated(state * self.strength, args[0]) for state in states]}
