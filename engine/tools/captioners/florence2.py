"""Florence-2, which transformers reads by a class of its own; Microsoft's repositories bring code instead, and are not read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import Florence2ForConditionalGeneration, Florence2Processor

from ...data.files.pictures import decode
from ...errors import JobError
from ...jobs.tools.captions import Florence2
from ...runtime.device import pick_device, pick_dtype
from ..pretrained import fetch, placed, read_images, read_model, read_tokenizer
from .base import Describe

TASKS = {"caption": "<CAPTION>", "detailed_caption": "<DETAILED_CAPTION>", "more_detailed_caption": "<MORE_DETAILED_CAPTION>"}


def open_florence2(settings: Florence2) -> Describe:
    folder = fetch(settings.model_name_or_path, "captioner.model_name_or_path", "use the captioner template")
    device = pick_device()
    model = read_model(Florence2ForConditionalGeneration, folder, device, pick_dtype(settings.dtype, device))
    tokenizer = read_tokenizer(folder)
    try:
        processor = Florence2Processor(read_images(folder), tokenizer)
    except AttributeError as error:  # Microsoft's own files name no token for the picture
        raise JobError(
            f"The model in {folder} is not in the form of transformers.", "Take one of florence-community on the hub."
        ) from error

    def describe(paths: Sequence[Path]) -> list[str]:
        pictures = [decode(path) for path in paths]
        prompts = [TASKS[settings.detail]] * len(pictures)
        inputs = placed(processor(images=pictures, text=prompts, return_tensors="pt", padding=True), model)
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=settings.max_new_tokens, num_beams=settings.num_beams, do_sample=False)
        return [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    return describe
