"""The processor of Qwen's vision model for pictures alone. Tried with transformers 5.23."""

from __future__ import annotations

import transformers


class Qwen2VLProcessor(transformers.Qwen2VLProcessor):
    """Without the part for videos, which cannot be imported where there is no torchvision."""

    __module__ = transformers.Qwen2VLProcessor.__module__  # it is saved as what it is read as

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None):
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
