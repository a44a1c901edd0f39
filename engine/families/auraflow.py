"""AuraFlow."""

from __future__ import annotations

from diffusers import AuraFlowPipeline

from .base import ModelFamily


class AuraFlow(ModelFamily):
    name = "auraflow"
    pipeline_class = AuraFlowPipeline
    lora_targets = (
        r"(joint|single)_transformer_blocks\.\d+\."
        r"(attn\.(to_[qkv]|add_[qkv]_proj|to_out\.0|to_add_out)|ff(_context)?\.(linear_[12]|out_projection))"
    )

    def encode_prompts(self, prompts, pictures=()):
        length = self.defaults.max_sequence_length or 256
        return {"prompt_embeds": self.pipe.encode_prompt(list(prompts), None, False, max_sequence_length=length)[0]}

    def predict(self, noisy, sigma, cond):
        return self.denoiser(noisy, encoder_hidden_states=cond["prompt_embeds"], timestep=sigma, return_dict=False)[0]

    def sample(self, cond, negative, request, pictures=(), **more):
        return super().sample(with_mask(cond), negative and with_mask(negative), request, pictures, **more)


def with_mask(cond):
    """The pipeline asks for a mask beside the features and leaves it at that: they are zero where there is no text."""
    return {**cond, "prompt_attention_mask": cond["prompt_embeds"].new_ones(cond["prompt_embeds"].shape[:2])}
