"""Draws with OmniGen2: from words, or from words and up to five reference pictures.

The published pipeline's words, schedule and guidance (Wu et al. 2025, arXiv 2506.18871), in diffusers' terms: its
denoiser counts time from noise to picture, here noise levels are counted down and velocities point to the noise.
One prompt makes one picture. References are the means of what the autoencoder makes of them, so that a seed is one picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ImagePipelineOutput
from diffusers.image_processor import VaeImageProcessor
from diffusers.loaders.lora_pipeline import CogView4LoraLoaderMixin
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from .omnigen2_transformer import OmniGen2Transformer2DModel
from .own_pipeline import OwnPipeline, needed

TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant that generates high-quality images based on user instructions.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n"
)
"""The conversation that the model was trained on."""


# the loader of CogView4 takes diffusers' names as they are, which is what OmniGen2 needs
class OmniGen2Pipeline(OwnPipeline, CogView4LoraLoaderMixin):
    """``processor`` is the text encoder's tokenizer: pictures are not shown to it."""

    own_classes = {
        "transformer": OmniGen2Transformer2DModel,
        "scheduler": FlowMatchEulerDiscreteScheduler,
        "processor": Qwen2Tokenizer,
    }
    model_cpu_offload_seq = "mllm->transformer->vae"

    def __init__(
        self,
        transformer: OmniGen2Transformer2DModel,
        vae: AutoencoderKL,
        scheduler: FlowMatchEulerDiscreteScheduler,
        mllm: Qwen2_5_VLForConditionalGeneration,
        processor: Qwen2Tokenizer,
    ):
        super().__init__()
        self.register_modules(transformer=transformer, vae=vae, scheduler=scheduler, mllm=mllm, processor=processor)
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1) if vae else 8
        self.image_processor = VaeImageProcessor(vae_scale_factor=2 * self.vae_scale_factor, do_convert_rgb=True)

    def encode_prompt(self, prompts: Sequence[str], max_sequence_length: int = 1024) -> tuple[Tensor, Tensor]:
        """Features BLD and their mask BL: shorter texts are filled up at their end."""
        texts = [TEMPLATE.format(prompt) for prompt in prompts]
        tokens = self.processor(
            texts, padding=True, padding_side="right", truncation=True, max_length=max_sequence_length, return_tensors="pt"
        ).to(self.mllm.device)
        answer = self.mllm(**tokens, output_hidden_states=True, use_cache=False, logits_to_keep=1)
        return answer.hidden_states[-1].to(self.mllm.dtype), tokens.attention_mask

    def encode_reference(self, picture: Image.Image, max_pixels: int, max_side: int) -> Tensor:
        """Latents 1CHW of a reference picture, made smaller where it is too large and never larger."""
        ratio = min(1.0, (max_pixels / (picture.width * picture.height)) ** 0.5, max_side / max(picture.size))
        step = 2 * self.vae_scale_factor
        width, height = (int(side * ratio) // step * step for side in picture.size)
        pixels = self.image_processor.preprocess(picture, height, width).to(self.vae.device, self.vae.dtype)
        latents = self.vae.encode(pixels).latent_dist.mean
        return (latents - (self.vae.config.shift_factor or 0.0)) * self.vae.config.scaling_factor

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | None = None,
        negative_prompt: str = "",
        prompt_embeds: Tensor | None = None,
        prompt_attention_mask: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        negative_prompt_attention_mask: Tensor | None = None,
        input_images: Sequence[Image.Image] = (),
        width: int | None = None,
        height: int | None = None,
        num_inference_steps: int = 50,
        text_guidance_scale: float = 4.0,
        image_guidance_scale: float = 2.0,
        max_pixels: int = 1024 * 1024,
        max_input_image_side_length: int = 2048,
        max_sequence_length: int = 1024,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
    ) -> ImagePipelineOutput:
        """A picture of ``prompt``, of the size of the only reference picture where none is asked for.

        ``text_guidance_scale`` up to 1 draws without guidance; ``image_guidance_scale`` counts where there are references.
        """
        device = self._execution_device
        if prompt_embeds is None:
            prompt_embeds, prompt_attention_mask = self.encode_prompt([prompt or ""], max_sequence_length)
        if text_guidance_scale > 1 and negative_prompt_embeds is None:
            negative_prompt_embeds, negative_prompt_attention_mask = self.encode_prompt([negative_prompt], max_sequence_length)
        references = [self.encode_reference(each, max_pixels, max_input_image_side_length) for each in input_images]
        size = _size(width, height, references, self.vae_scale_factor)
        shape = (len(prompt_embeds), self.transformer.config.in_channels, *size)
        latents = randn_tensor(shape, generator=generator, device=device, dtype=prompt_embeds.dtype)

        def ask(embeds: Any, mask: Any, shown: Sequence[Tensor]) -> Tensor:
            time = (1 - t / self.scheduler.config.num_train_timesteps).expand(len(latents))
            return -self.transformer(latents, time, embeds, needed(mask), [each.to(latents) for each in shown])

        self.scheduler.set_timesteps(sigmas=noise_levels(num_inference_steps, size[0] * size[1]), device=device)
        with self.progress_bar(total=num_inference_steps) as progress:
            for t in self.scheduler.timesteps:
                velocity = ask(prompt_embeds, prompt_attention_mask, references)
                if text_guidance_scale > 1:
                    nothing = ask(negative_prompt_embeds, negative_prompt_attention_mask, ())
                    wordless = nothing
                    if references and image_guidance_scale > 1:
                        wordless = ask(negative_prompt_embeds, negative_prompt_attention_mask, references)
                    velocity = nothing + image_guidance_scale * (wordless - nothing) + text_guidance_scale * (velocity - wordless)
                latents = self.scheduler.step(velocity, t, latents, return_dict=False)[0]
                progress.update()

        latents = latents.to(self.vae.dtype) / self.vae.config.scaling_factor + (self.vae.config.shift_factor or 0.0)
        pictures = self.vae.decode(latents, return_dict=False)[0]
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=self.image_processor.postprocess(pictures, output_type=output_type))


def _size(width: int | None, height: int | None, references: Sequence[Tensor], scale: int) -> tuple[int, int]:
    """Height and width of the latents: an even number of them."""
    if width and height:
        return height // (2 * scale) * 2, width // (2 * scale) * 2
    if len(references) == 1:
        return references[0].shape[-2], references[0].shape[-1]
    return 1024 // scale, 1024 // scale


def noise_levels(steps: int, pixels: int) -> list[float]:
    """Shares of noise, from 1 down. ``pixels`` of the latents: the more, the longer it stays noisy. 40 x 40 shifts nothing."""
    shift = pixels**0.5 / 40
    even = np.linspace(1, 0, steps + 1)[:-1]
    return (shift * even / (1 + (shift - 1) * even)).tolist()
