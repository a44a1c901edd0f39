"""Wan: videos from text, and from a first frame. Pictures are videos of one frame."""

from __future__ import annotations

from typing import ClassVar

import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from torch import Tensor

from ..errors import JobError
from .base import ModelFamily, Stage, controls_in
from .video_latents import encode_frames

TIMESTEPS = 1000


class Wan21(ModelFamily):
    name = "wan21"
    pipeline_class = WanPipeline
    lora_targets = r"blocks\.\d+\.(attn[12]\.(to_[qkv]|add_[kv]_proj|to_out\.0)|ffn\.net\.(0\.proj|2))"
    default_form = "comfyui"
    is_video = True

    @property
    def pixel_multiple(self):
        return self.pipe.vae_scale_factor_spatial * self.latent_multiple

    @property
    def frame_multiple(self):
        return self.pipe.vae_scale_factor_temporal

    def encode_prompts(self, prompts, pictures=()):
        length = self.defaults.max_sequence_length or 512
        # the same in all of Wan's pipelines, but for a package that one of them needs to clean the text
        return {"prompt_embeds": WanPipeline._get_t5_prompt_embeds(self.pipe, list(prompts), max_sequence_length=length)}

    def encode_pixels(self, pixels):
        return encode_frames(self.pipe.vae, pixels if pixels.ndim == 5 else pixels[:, :, None])

    def predict(self, noisy, sigma, cond):
        return self.ask(self.denoiser, noisy, sigma, cond)

    def ask(self, denoiser, noisy, sigma, cond):
        return denoiser(hidden_states=noisy, timestep=sigma * TIMESTEPS, encoder_hidden_states=cond["prompt_embeds"], return_dict=False)[0]


class Wan22Small(Wan21):
    """5B: each token has a time of its own, so that a first frame can stand still while the rest is noise."""

    name = "wan22_5b"
    max_controls = 1

    def predict(self, noisy, sigma, cond):
        level = sigma.view(-1, 1, 1, 1, 1).expand(-1, 1, *noisy.shape[2:])
        if (shown := controls_in(cond)) and noisy.shape[2] > 1:
            later = is_later(noisy)
            noisy, level = torch.where(later, noisy, shown[0][:, :, :1]), level * later
        times = level[:, 0, :, ::2, ::2].flatten(1) * TIMESTEPS
        return self.denoiser(hidden_states=noisy, timestep=times, encoder_hidden_states=cond["prompt_embeds"], return_dict=False)[0]

    def counts(self, noisy, cond):
        # what is shown is not to be guessed
        return is_later(noisy).to(noisy) if controls_in(cond) and noisy.shape[2] > 1 else None

    def sample(self, cond, negative, request, pictures=(), **more):
        if not pictures:
            return super().sample(cond, negative, request, **more)
        text_only = self.pipe
        self.pipe = from_a_frame(text_only)
        try:
            return super().sample(cond, negative, request, pictures, **more)
        finally:
            self.pipe = text_only


class Wan21FromImage(Wan21):
    """The first frame is given: its latents beside the noise, and its features beside the text."""

    name = "wan21_i2v"
    pipeline_class = WanImageToVideoPipeline
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "image_encoder")
    min_controls = max_controls = 1
    sees_controls = True
    own_frame = True

    def encode_prompts(self, prompts, pictures=()):
        features = [self.pipe.encode_image(shown[0]) for shown in pictures]
        return {**super().encode_prompts(prompts), "image_embeds": torch.cat(features)}

    def encode_reference(self, pixels, frames=1):
        # a video that is known at its beginning, and grey after it
        grey = pixels.new_zeros(*pixels.shape[:2], frames - 1, *pixels.shape[2:])
        return self.encode_pixels(torch.cat([pixels[:, :, None], grey], 2))[0]

    def ask(self, denoiser, noisy, sigma, cond):
        (shown,) = controls_in(cond)
        known = (~is_later(noisy)).to(noisy).expand(len(noisy), self.pipe.vae_scale_factor_temporal, *noisy.shape[2:])
        return denoiser(
            hidden_states=torch.cat([noisy, known, shown], 1),
            timestep=sigma * TIMESTEPS,
            encoder_hidden_states=cond["prompt_embeds"],
            encoder_hidden_states_image=cond.get("image_embeds"),
            return_dict=False,
        )[0]

    def sample(self, cond, negative, request, pictures=(), **more):
        words = {"prompt_embeds": cond["prompt_embeds"]}
        without = {"prompt_embeds": negative["prompt_embeds"]} if negative else None
        # the pipeline takes either the picture or its features: it asks for those here, without the encoder
        self.pipe.encode_image = lambda image, device=None: cond["image_embeds"]
        try:
            return super().sample(words, without, request, pictures, **more)
        finally:
            del self.pipe.encode_image


class TwoExperts(Wan21):
    """One model for much noise, which decides what happens where, and one for little, which draws it."""

    experts = ("transformer_2",)
    kwargs = {"train_high_noise": True, "train_low_noise": True}

    @classmethod
    def trained_parts(cls, kwargs):
        wanted = {**cls.kwargs, **kwargs}
        return tuple(part for part, flag in zip(cls.denoiser_parts(), ("train_high_noise", "train_low_noise"), strict=True) if wanted[flag])

    @property
    def stages(self):
        boundary = self.pipe.config.boundary_ratio
        high, low = Stage("transformer", boundary, 1.0, "high_noise"), Stage("transformer_2", 0.0, boundary, "low_noise")
        chosen = tuple(stage for stage in (high, low) if stage.part in self.trained_parts(self.kwargs))
        if not chosen:
            raise JobError("Neither of the two experts is trained.", "Set train_high_noise or train_low_noise to true.")
        return chosen

    def predict(self, noisy, sigma, cond):
        answer, high = torch.empty_like(noisy), sigma >= self.pipe.config.boundary_ratio
        for expert, rows in zip(self.denoisers, (high, ~high), strict=True):
            if rows.any():
                asked = {name: tensor[rows] for name, tensor in cond.items()}
                answer[rows] = self.ask(expert, noisy[rows], sigma[rows], asked).to(answer.dtype)
        return answer

    def predict_within(self, span, noisy, sigma, cond):
        part = next((stage.part for stage in self.stages if stage.low <= span[0] and span[1] <= stage.high), None)
        # without it, a look at each row's noise level, which waits for the device
        return self.ask(getattr(self.pipe, part), noisy, sigma, cond) if part else self.predict(noisy, sigma, cond)


class Wan22(TwoExperts):
    name = "wan22_14b"


class Wan22FromImage(TwoExperts, Wan21FromImage):
    """It does without features of the first frame."""

    name = "wan22_14b_i2v"
    text_parts = ("text_encoder",)
    sees_controls = False

    def encode_prompts(self, prompts, pictures=()):
        return Wan21.encode_prompts(self, prompts)

    def sample(self, cond, negative, request, pictures=(), **more):
        return Wan21.sample(self, cond, negative, request, pictures, **more)


def from_a_frame(pipe: WanPipeline) -> WanImageToVideoPipeline:
    """The same model in the pipeline that takes a first frame."""
    other = WanImageToVideoPipeline(**pipe.components, expand_timesteps=True)
    other.set_progress_bar_config(disable=True)
    return other


def is_later(latents: Tensor) -> Tensor:
    """Which latents of BCFHW come after the first frame, as 1 1 F H W."""
    later = torch.ones(1, 1, *latents.shape[2:], dtype=torch.bool, device=latents.device)
    later[:, :, 0] = False
    return later
