"""The denoiser of Chroma1 Radiance, which diffusers 0.42 does not have: Chroma on pixels, without an autoencoder.

Its body is Chroma's: FLUX.1's blocks, modulated by one small network that knows the time and which block it speaks to.
Patches of 16 x 16 pixels go in through one convolution. The head is a neural field: for every patch the body's answer
becomes the weights of small layers, which work on that patch's pixels and their places, and a last convolution smooths
over the patches' borders.

Parameters have the names and shapes of the published checkpoint, which are FLUX's original ones. B batch, C channels,
H and W height and width in pixels, L tokens, N patches, P pixels of a patch, D features.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.embeddings import apply_rotary_emb, get_timestep_embedding
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.transformers.transformer_flux import FluxPosEmbed
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

LEAST_TIME = 0.05
"""Noise below which a model that answers with the picture is not asked for a velocity in training: it would be a division by nothing."""


class RadianceTransformer2DModel(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Velocity from picture to noise, for pixels at a time in [0, 1] where 1 is noise.

    Settings are named as diffusers' Chroma names them, so that a Chroma model's own configuration gives the right sizes.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["DoubleBlock", "SingleBlock", "FieldBlock"]
    _repeated_blocks = ["DoubleBlock", "SingleBlock"]
    _skip_layerwise_casting_patterns = ["img_in_patch", "nerf", "norm"]

    @register_to_config
    def __init__(
        self,
        num_layers: int = 19,
        num_single_layers: int = 38,
        attention_head_dim: int = 128,
        num_attention_heads: int = 24,
        joint_attention_dim: int = 4096,
        axes_dims_rope: Sequence[int] = (16, 56, 56),
        approximator_num_channels: int = 64,
        approximator_hidden_dim: int = 5120,
        approximator_layers: int = 5,
        pixel_channels: int = 3,
        pixel_patch_size: int = 16,
        field_features: int = 64,
        field_ratio: int = 4,
        field_layers: int = 4,
        field_frequencies: int = 8,
        use_x0: bool = False,
        use_patch_size_32: bool = False,
    ) -> None:
        super().__init__()
        features = num_attention_heads * attention_head_dim
        self.img_in_patch = nn.Conv2d(pixel_channels, features, pixel_patch_size, stride=pixel_patch_size)
        self.txt_in = nn.Linear(joint_attention_dim, features)
        self.distilled_guidance_layer = Approximator(approximator_num_channels, features, approximator_hidden_dim, approximator_layers)
        self.double_blocks = nn.ModuleList(DoubleBlock(features, num_attention_heads) for _ in range(num_layers))
        self.single_blocks = nn.ModuleList(SingleBlock(features, num_attention_heads) for _ in range(num_single_layers))
        self.nerf_image_embedder = PixelsAndPlaces(pixel_channels, field_features, field_frequencies)
        self.nerf_blocks = nn.ModuleList(FieldBlock(features, field_features, field_ratio) for _ in range(field_layers))
        self.nerf_final_layer_conv = FieldEnd(field_features, pixel_channels)
        self.gradient_checkpointing = False

    @classmethod
    def load_config(cls, *arguments: Any, **options: Any) -> Any:
        """Of a Chroma model's configuration, what is the same here."""
        config = super().load_config(*arguments, **options)
        keep = cls._get_init_keys(cls)
        return {name: value for name, value in config.items() if name in keep} if isinstance(config, dict) else config

    @classmethod
    def told_by(cls, names: Collection[str]) -> dict[str, bool]:
        """Settings that a checkpoint's file says with tensors that hold nothing."""
        marks = {"use_x0": "__x0__", "use_patch_size_32": "__32x32__"}
        return {setting: any(name.endswith(mark) for name in names) for setting, mark in marks.items()}

    @property
    def patch(self) -> int:
        """Pixels of a patch's side."""
        return self.config.pixel_patch_size * (2 if self.config.use_patch_size_32 else 1)

    def forward(
        self, hidden_states: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, encoder_attention_mask: Tensor | None = None
    ) -> Tensor:
        """Velocity (noise - picture) BCHW at ``timestep`` [B].

        ``encoder_hidden_states`` BLD are filled up at their end where ``encoder_attention_mask`` BL is 0; no mask: nothing
        is filled up.
        """
        h, w = (side // self.patch for side in hidden_states.shape[-2:])
        text = self.txt_in(encoder_hidden_states)
        seen = functional.interpolate(hidden_states, scale_factor=0.5) if self.config.use_patch_size_32 else hidden_states
        image = self.img_in_patch(seen).flatten(2).transpose(1, 2)
        length = text.shape[1]
        turns = FluxPosEmbed(10000, self.config.axes_dims_rope)(_places(length, h, w, text.device))
        mask = None
        if encoder_attention_mask is not None:
            mask = functional.pad(encoder_attention_mask.bool(), (0, h * w), value=True)[:, None, None]

        of_double, of_single = self._modulations(timestep, image)
        for block, own in zip(self.double_blocks, of_double, strict=True):
            image, text = self._through(block, image, text, own, turns, mask)
        joint = torch.cat([text, image], dim=1)
        for block, own in zip(self.single_blocks, of_single, strict=True):
            joint = self._through(block, joint, own, turns, mask)

        answer = self._field(hidden_states, joint[:, length:])
        if not self.config.use_x0:
            return answer
        time = timestep.clamp(min=LEAST_TIME) if self.training else timestep
        return (hidden_states - answer) / time.view(-1, 1, 1, 1)

    def _modulations(self, timestep: Tensor, like: Tensor) -> tuple[Iterator[Tensor], Iterator[Tensor]]:
        """Of each double block B 12 D (six for the image, then six for the text), of each single block B 3 D."""
        doubles, singles = len(self.double_blocks), len(self.single_blocks)
        count, channels = 3 * singles + 12 * doubles + 2, self.config.approximator_num_channels // 4  # the last two are for FLUX's head
        time = torch.cat([_waves(timestep, channels), _waves(torch.zeros_like(timestep), channels)], dim=1)
        index = _waves(torch.arange(count, device=timestep.device), 2 * channels)
        asked = torch.cat([time[:, None].expand(-1, count, -1), index[None].expand(len(time), -1, -1)], dim=-1)
        told = self.distilled_guidance_layer(asked.to(like.dtype))
        of_single, of_image, of_text, _ = told.split([3 * singles, 6 * doubles, 6 * doubles, 2], dim=1)
        both = torch.cat([of_image.unflatten(1, (doubles, 6)), of_text.unflatten(1, (doubles, 6))], dim=2)
        return iter(both.unbind(1)), iter(of_single.unflatten(1, (singles, 3)).unbind(1))

    def _field(self, pixels: Tensor, image: Tensor) -> Tensor:
        """The head: what the body says of each patch, worked out pixel by pixel."""
        b, _, height, width = pixels.shape
        p = self.patch
        patches = rearrange(pixels, "b c (h p) (w q) -> (b h w) (p q) c", p=p, q=p)
        field = self.nerf_image_embedder(patches)
        for block in self.nerf_blocks:
            field = self._through(block, field, image.flatten(0, 1))
        field = self.nerf_final_layer_conv.norm(field)
        whole = rearrange(field, "(b h w) (p q) d -> b d (h p) (w q)", b=b, h=height // p, w=width // p, p=p, q=p)
        return self.nerf_final_layer_conv.conv(whole)

    def _through(self, block: nn.Module, *given: Any) -> Any:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, *given)
        return block(*given)


def _places(length: int, h: int, w: int, device: torch.device) -> Tensor:
    """Of words (all at zero) and of patches (0, row, column): L3."""
    grid = torch.cartesian_prod(torch.arange(h, device=device), torch.arange(w, device=device)).view(-1, 2)
    return functional.pad(functional.pad(grid, (1, 0)), (0, 0, length, 0))


def _waves(values: Tensor, channels: int) -> Tensor:
    return get_timestep_embedding(values * 1000, channels, flip_sin_to_cos=True, downscale_freq_shift=0)


class ScaleNorm(nn.Module):
    """RMS norm, with its weight named as FLUX names it."""

    def __init__(self, features: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x.float(), self.scale.shape, eps=1e-6).to(x.dtype) * self.scale


class ApproximatorLayer(nn.Module):
    def __init__(self, features: int):
        super().__init__()
        self.in_layer = nn.Linear(features, features)
        self.out_layer = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_layer(functional.silu(self.in_layer(x)))


class Approximator(nn.Module):
    """All modulations of the model from the time and their numbers."""

    def __init__(self, channels: int, features: int, hidden: int, layers: int):
        super().__init__()
        self.in_proj = nn.Linear(channels, hidden)
        self.layers = nn.ModuleList(ApproximatorLayer(hidden) for _ in range(layers))
        self.norms = nn.ModuleList(ScaleNorm(hidden) for _ in range(layers))
        self.out_proj = nn.Linear(hidden, features)

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_proj(x)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + layer(norm(x))
        return self.out_proj(x)


class QueryKeyNorm(nn.Module):
    def __init__(self, features: int):
        super().__init__()
        self.query_norm = ScaleNorm(features)
        self.key_norm = ScaleNorm(features)


class Attention(nn.Module):
    """The layers of one stream; what is attended to is decided by the block."""

    def __init__(self, features: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(features, 3 * features)
        self.norm = QueryKeyNorm(features // heads)
        self.proj = nn.Linear(features, features)


def _split_heads(qkv: Tensor, norm: QueryKeyNorm, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value, B L heads D."""
    query, key, value = rearrange(qkv, "b l (k h d) -> k b l h d", k=3, h=heads)
    return norm.query_norm(query).to(value.dtype), norm.key_norm(key).to(value.dtype), value


def _attend(query: Tensor, key: Tensor, value: Tensor, turns: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
    query, key = (apply_rotary_emb(each, turns, sequence_dim=1) for each in (query, key))
    query, key, value = (each.transpose(1, 2) for each in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)


def _normed(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return (1 + scale) * functional.layer_norm(x, x.shape[-1:], eps=1e-6) + shift


def _mlp(features: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, 4 * features), nn.GELU(approximate="tanh"), nn.Linear(4 * features, features))


class DoubleBlock(nn.Module):
    """Image and text attend to each other, each with weights of its own."""

    def __init__(self, features: int, heads: int):
        super().__init__()
        self.img_attn = Attention(features, heads)
        self.img_mlp = _mlp(features)
        self.txt_attn = Attention(features, heads)
        self.txt_mlp = _mlp(features)

    def forward(self, image: Tensor, text: Tensor, told: Tensor, turns: Any, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        of_image, of_text = told.split(6, dim=1)
        streams = ((text, self.txt_attn, self.txt_mlp, of_text), (image, self.img_attn, self.img_mlp, of_image))
        parts = [
            _split_heads(attention.qkv(_normed(x, own[:, 0:1], own[:, 1:2])), attention.norm, attention.heads)
            for x, attention, _, own in streams
        ]
        query, key, value = (torch.cat(both, dim=1) for both in zip(*parts, strict=True))
        attended = _attend(query, key, value, turns, mask).split([text.shape[1], image.shape[1]], dim=1)
        done = []
        for (x, attention, mlp, own), found in zip(streams, attended, strict=True):
            x = x + own[:, 2:3] * attention.proj(found)
            done.append(x + own[:, 5:6] * mlp(_normed(x, own[:, 3:4], own[:, 4:5])))
        return done[1], done[0]


class SingleBlock(nn.Module):
    """Attention and a feed-forward layer side by side, over text and image as one sequence."""

    def __init__(self, features: int, heads: int):
        super().__init__()
        self.heads = heads
        self.linear1 = nn.Linear(features, 7 * features)
        self.linear2 = nn.Linear(5 * features, features)
        self.norm = QueryKeyNorm(features // heads)

    def forward(self, x: Tensor, told: Tensor, turns: Any, mask: Tensor | None) -> Tensor:
        features = x.shape[-1]
        qkv, inner = self.linear1(_normed(x, told[:, 0:1], told[:, 1:2])).split([3 * features, 4 * features], dim=-1)
        attended = _attend(*_split_heads(qkv, self.norm, self.heads), turns, mask)
        return x + told[:, 2:3] * self.linear2(torch.cat([attended, functional.gelu(inner, approximate="tanh")], dim=-1))


class ExactLinear(nn.Linear):
    """Reckons in fp32 whatever its weights are held in. It is never quantized, being no plain linear layer."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(x.float(), self.weight.float(), self.bias.float())


class PixelsAndPlaces(nn.Module):
    """Features of the pixels of patches and of where in their patch they are: N P C to N P D."""

    def __init__(self, channels: int, features: int, frequencies: int):
        super().__init__()
        self.frequencies = frequencies
        self.embedder = nn.Sequential(ExactLinear(channels + frequencies**2, features))

    def forward(self, pixels: Tensor) -> Tensor:
        count, places, _ = pixels.shape
        waves = self._waves(round(places**0.5), pixels.device).expand(count, -1, -1)
        return self.embedder(torch.cat([pixels.float(), waves], dim=-1)).to(pixels.dtype)

    def _waves(self, side: int, device: torch.device) -> Tensor:
        """Products of a cosine along the rows and one along the columns, fainter the finer both are: 1 P frequencies²."""
        frequency = torch.arange(self.frequencies, dtype=torch.float32, device=device)
        along = torch.cos(torch.pi * torch.linspace(0, 1, side, device=device)[:, None] * frequency)
        faint = 1 / (1 + frequency[:, None] * frequency)
        return torch.einsum("yg,xf,fg->yxfg", along, along, faint).reshape(1, side * side, -1)


class FieldBlock(nn.Module):
    """A gated feed-forward layer whose weights are made for each patch."""

    def __init__(self, features: int, field: int, ratio: int):
        super().__init__()
        self.shape = (field, field * ratio)
        self.param_generator = nn.Linear(features, 3 * field * field * ratio)
        self.norm = ScaleNorm(field)

    def forward(self, field: Tensor, patch: Tensor) -> Tensor:
        """N P D, made with the body's answers N D."""
        narrow, wide = self.shape
        made = self.param_generator(patch).chunk(3, dim=-1)
        gate, up, down = (
            functional.normalize(weight.unflatten(-1, shape), dim=-2)
            for weight, shape in zip(made, ((narrow, wide), (narrow, wide), (wide, narrow)), strict=True)
        )
        x = self.norm(field)
        return field + torch.bmm(functional.silu(torch.bmm(x, gate)) * torch.bmm(x, up), down)


class FieldEnd(nn.Module):
    def __init__(self, field: int, channels: int):
        super().__init__()
        self.norm = ScaleNorm(field)
        self.conv = nn.Conv2d(field, channels, 3, padding=1)
