"""HiDream I1."""

from __future__ import annotations

import math

from diffusers import HiDreamImagePipeline
from einops import rearrange

from .base import Guest, ModelFamily


class HiDream(ModelFamily):
    name = "hidream"
    pipeline_class = HiDreamImagePipeline
    # the routed experts are left alone: each learns from its share of the tokens only
    lora_targets = (
        r"(double|single)_stream_blocks\.\d+\.block\."
        r"(attn1\.to_(q|k|v|out)(_t)?|ff_i\.shared_experts\.w[123]|ff_t\.w[123])"
    )
    text_parts = ("text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4")
    default_form = "comfyui"
    kwargs = {"llama_model_path": "unsloth/Meta-Llama-3.1-8B-Instruct"}
    guests = {"text_encoder_4": Guest("llama_model_path", "LlamaForCausalLM", "tokenizer_4")}

    def encode_prompts(self, prompts, pictures=()):
        length = self.defaults.max_sequence_length or 128
        t5, _, llama, _, pooled, _ = self.pipe.encode_prompt(list(prompts), do_classifier_free_guidance=False, max_sequence_length=length)
        return {"prompt_embeds_t5": t5, "prompt_embeds_llama3": llama.transpose(0, 1), "pooled_prompt_embeds": pooled}

    def predict(self, noisy, sigma, cond):
        answer = self.denoiser(
            hidden_states=noisy,
            timesteps=sigma * 1000,
            encoder_hidden_states_t5=cond["prompt_embeds_t5"],
            encoder_hidden_states_llama3=cond["prompt_embeds_llama3"].transpose(0, 1),
            pooled_embeds=cond["pooled_prompt_embeds"],
            return_dict=False,
        )[0]
        if self.denoiser.training:  # then it leaves the patches as they are, filled up to the largest picture
            h, w = noisy.shape[-2] // 2, noisy.shape[-1] // 2
            answer = rearrange(answer[:, :, : h * w], "b c (h w) (p q) -> b c (h p) (w q)", h=h, w=w, p=2, q=2)
        return -answer

    def sample(self, cond, negative, request, pictures=(), **more):
        cond, negative = (
            each and {**each, "prompt_embeds_llama3": each["prompt_embeds_llama3"].transpose(0, 1)} for each in (cond, negative)
        )
        # by itself the pipeline changes every size to the area of its default
        usual = self.pipe.default_sample_size
        self.pipe.default_sample_size = side_of(request.width, request.height) / self.pipe.vae_scale_factor
        try:
            return super().sample(cond, negative, request, pictures, **more)
        finally:
            self.pipe.default_sample_size = usual


def side_of(width: int, height: int) -> float:
    """Of the square with the same area; a hair larger, since it is rounded down."""
    return math.sqrt(width * height) * (1 + 1e-9)
