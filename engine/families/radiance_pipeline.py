"""Draws with Chroma1 Radiance: Chroma's words and schedule, in pixels. One prompt makes one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, ImagePipelineOutput
from diffusers.image_processor import VaeImageProcessor
from diffusers.loaders.lora_pipeline import CogView4LoraLoaderMixin
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase, T5EncoderModel

from .own_pipeline import OwnPipeline, needed
from .radiance_transformer import RadianceTransformer2DModel


# the loader of CogView4 takes the model's names as they are
class RadiancePipeline(OwnPipeline, CogView4LoraLoaderMixin):
    """Opened on a folder of Chroma, whose autoencoder and denoiser are left aside."""

    own_classes = {"transformer": RadianceTransformer2DModel}
    model_cpu_offload_seq = "text_encoder->transformer"
    vae_scale_factor = 1

    def __init__(
        self,
        scheduler: FlowMatchEulerDiscreteScheduler,
        text_encoder: T5EncoderModel,
        tokenizer: PreTrainedTokenizerBase,
        transformer: RadianceTransformer2DModel,
    ):
        super().__init__()
        self.register_modules(scheduler=scheduler, text_encoder=text_encoder, tokenizer=tokenizer, transformer=transformer)
        self.image_processor = VaeImageProcessor(vae_scale_factor=16)

    def encode_prompt(self, prompts: Sequence[str], max_sequence_length: int = 512) -> tuple[Tensor, Tensor]:
        """Features BLD of the words and of one token of padding after them, and their mask BL.

        The model was trained with all other padding hidden; what is hidden and has no place can as well be left out.
        """
        texts = []
        for prompt in prompts:
            length = len(self.tokenizer(prompt, truncation=True, max_length=max_sequence_length).input_ids)
            tokens = self.tokenizer(
                prompt, padding="max_length", truncation=True, max_length=min(length + 1, max_sequence_length), return_tensors="pt"
            ).to(self.text_encoder.device)
            texts.append(self.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0][0].to(self.text_encoder.dtype))
        masks = [text.new_ones(len(text), dtype=torch.bool) for text in texts]
        return pad_sequence(texts, batch_first=True), pad_sequence(masks, batch_first=True)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | None = None,
        negative_prompt: str = "",
        prompt_embeds: Tensor | None = None,
        prompt_attention_mask: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        negative_prompt_attention_mask: Tensor | None = None,
        width: int = 1024,
        height: int = 1024,
        num_inference_steps: int = 35,
        guidance_scale: float = 5.0,
        max_sequence_length: int = 512,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
    ) -> ImagePipelineOutput:
        """A picture of ``prompt``; ``guidance_scale`` up to 1 draws without guidance. Sides are cut to multiples of the patch."""
        device, side = self._execution_device, self.transformer.patch
        if prompt_embeds is None:
            prompt_embeds, prompt_attention_mask = self.encode_prompt([prompt or ""], max_sequence_length)
        if guidance_scale > 1 and negative_prompt_embeds is None:
            negative_prompt_embeds, negative_prompt_attention_mask = self.encode_prompt([negative_prompt], max_sequence_length)
        shape = (len(prompt_embeds), self.transformer.config.pixel_channels, height // side * side, width // side * side)
        pixels = randn_tensor(shape, generator=generator, device=device, dtype=prompt_embeds.dtype)

        even = np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)
        # the published sampler takes the channels for the number of tokens: its shift is the same for every size
        shift = calculate_shift(shape[1]) if self.scheduler.config.use_dynamic_shifting else None
        self.scheduler.set_timesteps(sigmas=even, mu=shift, device=device)
        with self.progress_bar(total=num_inference_steps) as progress:
            for t in self.scheduler.timesteps:
                time = (t / self.scheduler.config.num_train_timesteps).expand(len(pixels))
                velocity = self.transformer(pixels, time, prompt_embeds, needed(prompt_attention_mask))
                if guidance_scale > 1:
                    without = self.transformer(pixels, time, negative_prompt_embeds, needed(negative_prompt_attention_mask))
                    velocity = without + guidance_scale * (velocity - without)
                pixels = self.scheduler.step(velocity, t, pixels, return_dict=False)[0]
                progress.update()
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=self.image_processor.postprocess(pixels.float(), output_type=output_type))
