"""BLIP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BlipForConditionalGeneration, BlipProcessor

from ...data.files.pictures import decode
from ...jobs.tools.captions import Blip
from ...runtime.device import pick_device, pick_dtype
from ..pretrained import fetch, placed, read_images, read_model, read_tokenizer
from .base import Describe


def open_blip(settings: Blip) -> Describe:
    folder = fetch(settings.model_name_or_path, "captioner.model_name_or_path", "use the captioner template")
    device = pick_device()
    model = read_model(BlipForConditionalGeneration, folder, device, pick_dtype(settings.dtype, device))
    tokenizer = read_tokenizer(folder)
    processor = BlipProcessor(read_images(folder), tokenizer)

    def describe(paths: Sequence[Path]) -> list[str]:
        pictures = [decode(path) for path in paths]
        begun = {"text": [settings.caption_prompt] * len(pictures)} if settings.caption_prompt else {}
        inputs = placed(processor(images=pictures, return_tensors="pt", **begun), model)
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=settings.max_new_tokens, do_sample=False)
        return [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    return describe
