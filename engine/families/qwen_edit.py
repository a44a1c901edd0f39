"""Qwen-Image-Edit and Edit-Plus (2509, 2511): Qwen-Image with reference pictures, which the text encoder sees as well."""

from __future__ import annotations

import contextlib
import math

from diffusers import QwenImageEditPipeline, QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as edit
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit_plus

from .base import stack
from .qwen_image import QwenImage, with_mask
from .qwen_processor import Qwen2VLProcessor


class QwenImageEdit(QwenImage):
    name = "qwen_image_edit"
    pipeline_class = QwenImageEditPipeline
    min_controls = max_controls = 1
    sees_controls = True

    @classmethod
    def own_parts(cls, folder):
        return {"processor": Qwen2VLProcessor.from_pretrained(folder / "processor", local_files_only=True)}

    def encode_prompts(self, prompts, pictures=()):
        with seeing(self.pipe.text_encoder):
            alone = [
                with_mask(*self.pipe.encode_prompt([prompt], self.as_seen(shown))) for prompt, shown in zip(prompts, pictures, strict=True)
            ]
        return stack([{name: tensor[0] for name, tensor in cond.items()} for cond in alone])

    def as_seen(self, pictures):
        """What the pipeline makes of reference pictures before the text encoder sees them."""
        width, height, _ = edit.calculate_dimensions(1024 * 1024, pictures[0].width / pictures[0].height)
        return self.pipe.image_processor.resize(pictures[0], height, width)


class QwenImageEditPlus(QwenImageEdit):
    name = "qwen_image_edit_plus"
    pipeline_class = QwenImageEditPlusPipeline
    max_controls = 3
    keeps_reference_sizes = True
    kwargs = {"match_target_res": False}

    def as_seen(self, pictures):
        sizes = [edit_plus.calculate_dimensions(edit_plus.CONDITION_IMAGE_SIZE, each.width / each.height) for each in pictures]
        resize = self.pipe.image_processor.resize
        return [resize(each, height, width) for each, (width, height) in zip(pictures, sizes, strict=True)]

    def reference_size(self, width, height, beside):
        """A million pixels in its own shape, as the pipeline shows it; with match_target_res as many as the picture has."""
        return edit_plus.calculate_dimensions(self.area_beside(beside), width / height)

    def area_beside(self, size):
        return math.prod(size) if self.kwargs["match_target_res"] else edit_plus.VAE_IMAGE_SIZE

    def sample(self, cond, negative, request, pictures=(), **more):
        usual = edit_plus.VAE_IMAGE_SIZE
        edit_plus.VAE_IMAGE_SIZE = self.area_beside((request.width, request.height))  # the pipeline has no setting for it
        try:
            return super().sample(cond, negative, request, pictures, **more)
        finally:
            edit_plus.VAE_IMAGE_SIZE = usual


@contextlib.contextmanager
def seeing(encoder):
    """Inside, the encoder is told which tokens are pictures.

    transformers 5 needs to be told, or it places a picture's tokens in a row like words; diffusers' pipelines (0.42) do
    not tell it (their issue 14194).
    """
    hook = encoder.register_forward_pre_hook(tell_kinds, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def tell_kinds(encoder, arguments, named):
    """A forward pre-hook: 1 for the tokens of a picture, 0 for words."""
    kinds = (named["input_ids"] == encoder.config.image_token_id).int()
    return arguments, {**named, "mm_token_type_ids": kinds}
