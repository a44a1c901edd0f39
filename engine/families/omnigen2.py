"""OmniGen2. Its model counts time from noise to picture and answers with the way back; the text encoder reads words alone."""

from __future__ import annotations

from .base import ModelFamily, controls_in
from .omnigen2_pipeline import OmniGen2Pipeline
from .omnigen2_transformer import MAX_REFERENCES
from .own_pipeline import needed


class OmniGen2(ModelFamily):
    name = "omnigen2"
    pipeline_class = OmniGen2Pipeline
    # without ref_image_refiner, which learns nothing where there are no reference pictures
    lora_targets = r"(layers|noise_refiner|context_refiner)\.\d+\.(attn\.(to_[qkv]|to_out\.0)|feed_forward\.linear_[123])"
    text_parts = ("mllm",)
    default_form = "comfyui"
    max_controls = MAX_REFERENCES
    text_batch = 1

    def encode_prompts(self, prompts, pictures=()):
        embeds, mask = self.pipe.encode_prompt(list(prompts), self.defaults.max_sequence_length or 1024)
        return {"prompt_embeds": embeds, "prompt_attention_mask": mask}

    def predict(self, noisy, sigma, cond):
        return -self.denoiser(noisy, 1 - sigma, cond["prompt_embeds"], needed(cond["prompt_attention_mask"]), controls_in(cond))

    def references(self, pictures):
        return {"input_images": list(pictures)}

    def guidance(self, request):
        return {"text_guidance_scale": request.guidance}
