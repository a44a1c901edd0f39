"""LTX-2: videos with sound, from text. It learns the pictures alone, as its makers' own trainer does with silent videos: it hears nothing then."""

from __future__ import annotations

import torch
from diffusers import LTX2Pipeline
from einops import rearrange

from .ltx_video import LtxVideo


class Ltx2(LtxVideo):
    name = "ltx2"
    pipeline_class = LTX2Pipeline
    text_parts = ("text_encoder", "connectors")
    vae_parts = ("vae", "audio_vae", "vocoder")
    text_batch = 1  # all layers of the text encoder are beside each other: a third of a gigabyte for each prompt
    # what would write longer prompts, and what would choose how long the video is
    pipeline_options = {"processor": None, "prompt_enhancer": None, "duration_head": None}

    def encode_prompts(self, prompts, pictures=()):
        pipe, length = self.pipe, self.defaults.max_sequence_length or 1024
        layers, mask, _, _ = pipe.encode_prompt(list(prompts), None, False, max_sequence_length=length, device=pipe.text_encoder.device)
        seen, heard, mask = pipe.connectors(layers, mask, padding_side=pipe.tokenizer.padding_side)
        return {"prompt_embeds": seen, "prompt_attention_mask": mask, "audio_prompt_embeds": heard}

    def predict(self, noisy, sigma, cond):
        frames, height, width = noisy.shape[2:]
        step = sigma * self.pipe.scheduler.config.num_train_timesteps
        answer, _ = self.denoiser(
            hidden_states=rearrange(noisy, "b c f h w -> b (f h w) c"),
            encoder_hidden_states=cond["prompt_embeds"],
            encoder_attention_mask=cond["prompt_attention_mask"],
            timestep=step,
            sigma=step,
            num_frames=frames,
            height=height,
            width=width,
            fps=self.defaults.fps,
            # a moment of nothing, which the pictures do not look at
            audio_hidden_states=noisy.new_zeros(len(noisy), 1, self.denoiser.config.audio_in_channels),
            audio_encoder_hidden_states=cond["audio_prompt_embeds"][:, :1],
            audio_num_frames=1,
            isolate_modalities=True,
            return_dict=False,
        )
        return rearrange(answer, "b (f h w) c -> b c f h w", f=frames, h=height)

    def sample(self, cond, negative, request, pictures=(), **more):
        texts = [dict(text) for text in (negative, cond) if text]
        heard = torch.cat([text.pop("audio_prompt_embeds") for text in texts])
        connectors = self.pipe.connectors
        # the pipeline takes features of the text encoder, and has the connectors read them: they have done so
        self.pipe.connectors = lambda seen, mask, **given: (seen, heard, mask)
        try:
            return super().sample(texts[-1], texts[0] if negative else None, request, pictures, **more)
        finally:
            self.pipe.connectors = connectors

    def guidance(self, request):
        # of its four kinds of guidance the one that all models have, for sound as for pictures
        plain = {"stg_scale": 0.0, "modality_scale": 1.0, "guidance_rescale": 0.0}
        alike = {f"audio_{name}": None for name in ("guidance_scale", *plain)}
        # what looks at the other's noise level is the model after the first, which projects prompts in its connectors
        return {**super().guidance(request), **plain, **alike, "use_cross_timestep": not self.denoiser.config.use_prompt_embeddings}
