"""The denoiser of OmniGen2 (Wu et al. 2025, arXiv 2506.18871), which diffusers 0.42 does not have.

Its blocks are Lumina-Image 2.0's, which diffusers has. What is its own: reference pictures with layers of their own
before the text, the references and the picture go through the blocks as one sequence, and Omni-RoPE, which gives every
picture one place behind the text and counts its rows and columns from zero, so that edits stay where they are.

Parameters have the names and shapes of the published checkpoint. B batch, C latent channels, H and W latent height and
width, L tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.normalization import LuminaLayerNormContinuous, RMSNorm
from diffusers.models.transformers.transformer_lumina2 import Lumina2TransformerBlock
from einops import rearrange
from torch import Tensor, nn

MAX_REFERENCES = 5
THETA = 10000.0


class OmniGen2Transformer2DModel(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Velocity from noise to picture, for latents at a time in [0, 1] where 0 is noise."""

    _supports_gradient_checkpointing = True
    _no_split_modules = ["Lumina2TransformerBlock"]
    _repeated_blocks = ["Lumina2TransformerBlock"]
    _skip_layerwise_casting_patterns = ["x_embedder", "norm"]

    @register_to_config
    def __init__(
        self,
        patch_size: int = 2,
        in_channels: int = 16,
        out_channels: int | None = None,
        hidden_size: int = 2520,
        num_layers: int = 32,
        num_refiner_layers: int = 2,
        num_attention_heads: int = 21,
        num_kv_heads: int = 7,
        multiple_of: int = 256,
        ffn_dim_multiplier: float | None = None,
        norm_eps: float = 1e-5,
        axes_dim_rope: Sequence[int] = (40, 40, 40),
        axes_lens: Sequence[int] = (10000, 10000, 10000),  # the original's tables end there; angles are reckoned here
        text_feat_dim: int = 2048,
        timestep_scale: float = 1000.0,
    ) -> None:
        super().__init__()
        if hidden_size != num_attention_heads * sum(axes_dim_rope):
            raise ValueError(f"hidden_size {hidden_size} is not {num_attention_heads} heads of {sum(axes_dim_rope)} features")
        patch = patch_size**2 * in_channels

        def blocks(count: int, modulation: bool = True) -> nn.ModuleList:
            sizes = (hidden_size, num_attention_heads, num_kv_heads, multiple_of, ffn_dim_multiplier, norm_eps)
            return nn.ModuleList(Lumina2TransformerBlock(*sizes, modulation=modulation) for _ in range(count))

        self.x_embedder = nn.Linear(patch, hidden_size)
        self.ref_image_patch_embedder = nn.Linear(patch, hidden_size)
        self.time_caption_embed = TimeAndText(hidden_size, text_feat_dim, norm_eps, timestep_scale)
        self.noise_refiner = blocks(num_refiner_layers)
        self.ref_image_refiner = blocks(num_refiner_layers)
        self.context_refiner = blocks(num_refiner_layers, modulation=False)
        self.layers = blocks(num_layers)
        self.norm_out = LuminaLayerNormContinuous(
            hidden_size, min(hidden_size, 1024), elementwise_affine=False, eps=1e-6, out_dim=patch_size**2 * (out_channels or in_channels)
        )
        self.image_index_embedding = nn.Parameter(torch.randn(MAX_REFERENCES, hidden_size) * 0.02)
        self.gradient_checkpointing = False

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor | None = None,
        ref_image_hidden_states: Sequence[Tensor] = (),
    ) -> Tensor:
        """Velocity (picture - noise) BCHW at ``timestep`` [B].

        ``encoder_hidden_states`` BLD are filled up at their end where ``encoder_attention_mask`` BL is 0; no mask: all of
        them are text. Each of ``ref_image_hidden_states`` is BCHW, of any size, and belongs to the picture of its row.
        """
        if len(ref_image_hidden_states) > MAX_REFERENCES:
            raise ValueError(f"OmniGen2 knows {MAX_REFERENCES} reference pictures, not {len(ref_image_hidden_states)}")
        mask = None if encoder_attention_mask is None else encoder_attention_mask.bool()
        time, text = self.time_caption_embed(timestep, encoder_hidden_states)
        places = self._places(text, mask, (*ref_image_hidden_states, hidden_states))
        turns = [self._turns(each) for each in places]

        text = self._through(self.context_refiner, text, mask, turns[0])
        references = [
            self._through(self.ref_image_refiner, self.ref_image_patch_embedder(self._patches(picture)) + index, None, turn, time)
            for picture, index, turn in zip(ref_image_hidden_states, self.image_index_embedding, turns[1:-1], strict=False)
        ]
        picture = self._through(self.noise_refiner, self.x_embedder(self._patches(hidden_states)), None, turns[-1], time)

        joint = torch.cat([text, *references, picture], dim=1)
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(len(mask), joint.shape[1] - mask.shape[1])], dim=1)
        joint = self._through(self.layers, joint, mask, torch.cat(turns, dim=1), time)
        answer = self.norm_out(joint[:, -picture.shape[1] :], time)
        p, (h, w) = self.config.patch_size, (side // self.config.patch_size for side in hidden_states.shape[-2:])
        return rearrange(answer, "b (h w) (p q c) -> b c (h p) (w q)", h=h, w=w, p=p, q=p)

    def _through(self, blocks: nn.ModuleList, tokens: Tensor, mask: Tensor | None, turns: Tensor, time: Tensor | None = None) -> Tensor:
        for block in blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                tokens = self._gradient_checkpointing_func(block, tokens, mask, turns, time)
            else:
                tokens = block(tokens, mask, turns, time)
        return tokens

    def _patches(self, latents: Tensor) -> Tensor:
        p = self.config.patch_size
        return rearrange(latents, "b c (h p) (w q) -> b (h w) (p q c)", p=p, q=p)

    def _places(self, text: Tensor, mask: Tensor | None, pictures: Sequence[Tensor]) -> list[Tensor]:
        """Omni-RoPE's places BL3 of the text and of each picture.

        A word's is its number, three times. A picture's is the first number that is free, then row and column; after it
        as many numbers are taken as its longer side has patches.
        """
        count, length, device = len(text), text.shape[1], text.device
        free = torch.full((count,), length, device=device) if mask is None else mask.sum(dim=1)
        places = [torch.arange(length, device=device).view(1, -1, 1).expand(count, -1, 3)]
        for picture in pictures:
            h, w = (side // self.config.patch_size for side in picture.shape[-2:])
            grid = torch.cartesian_prod(torch.arange(h, device=device), torch.arange(w, device=device)).view(1, -1, 2)
            number = free.view(-1, 1, 1).expand(-1, h * w, 1)
            places.append(torch.cat([number, grid.expand(count, -1, -1)], dim=-1))
            free = free + max(h, w)
        return places

    def _turns(self, places: Tensor) -> Tensor:
        """Unit complex numbers BLD that queries and keys are turned by; D is half a head."""
        kind = torch.float32 if places.device.type == "mps" else torch.float64
        angles = [
            places[..., axis, None] * THETA ** (-torch.arange(0, size, 2, dtype=kind, device=places.device) / size)
            for axis, size in enumerate(self.config.axes_dim_rope)
        ]
        whole = torch.cat(angles, dim=-1)
        return torch.polar(torch.ones_like(whole), whole).to(torch.complex64)


class TimeAndText(nn.Module):
    """Features of the time [B D] and of the text [B L D]."""

    def __init__(self, hidden_size: int, text_feat_dim: int, norm_eps: float, timestep_scale: float):
        super().__init__()
        self.time_proj = Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=0.0, scale=timestep_scale)
        self.timestep_embedder = TimestepEmbedding(256, min(hidden_size, 1024))
        self.caption_embedder = nn.Sequential(RMSNorm(text_feat_dim, eps=norm_eps), nn.Linear(text_feat_dim, hidden_size))

    def forward(self, timestep: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        return self.timestep_embedder(self.time_proj(timestep).to(text.dtype)), self.caption_embedder(text)
