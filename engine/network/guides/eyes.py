"""A frozen vision encoder, and what it says of pictures. Tried with transformers 5.23.

B batch, L tokens (one, or a grid of them), D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    CLIPImageProcessor,
    CLIPVisionModelWithProjection,
    SiglipImageProcessor,
    SiglipVisionModel,
)

from ...errors import JobError
from ...runtime.places import fetch_place, find_place, part_folder

Sight = Literal["clip", "siglip"]
"""clip: one vector that texts are compared with; siglip: what is seen in each place."""
MODELS: dict[str, Any] = {"clip": CLIPVisionModelWithProjection, "siglip": SiglipVisionModel}
PROCESSORS: dict[str, Any] = {"clip": CLIPImageProcessor, "siglip": SiglipImageProcessor}


class Eye:
    """Opened to be asked about its shape; its weights come when it looks."""

    def __init__(self, name: str, sight: Sight):
        """``name``: a folder or an id on the hub, of the encoder, of a whole CLIP or SigLIP, or of a pipeline with an image_encoder."""
        self.name, self.sight = name, sight
        found = part_folder(fetch_place(find_place(name, "adapter.image_encoder_path"), "image_encoder"), "image_encoder")
        try:
            kind = AutoConfig.from_pretrained(found, local_files_only=True).model_type if found else "none"
        except (OSError, ValueError, KeyError):  # a folder of another kind, or none that transformers knows
            kind = "none"
        if not found or kind.removesuffix("_model").removesuffix("_vision") != sight:
            raise JobError(
                f"adapter.image_encoder_path: {name} is no {sight} vision encoder, which this adapter sees with.", "Choose another."
            )
        self.folder: Path = found
        self.config = MODELS[sight].config_class.from_pretrained(found, local_files_only=True)

    @property
    def width(self) -> int:
        """D."""
        return self.config.projection_dim if self.sight == "clip" else self.config.hidden_size

    def open(self, device: torch.device) -> None:
        """Load the weights."""
        try:
            self.model = (
                MODELS[self.sight]
                .from_pretrained(self.folder, dtype=torch.float32, local_files_only=True, use_safetensors=True)
                .to(device)
                .eval()
            )
        except (OSError, ValueError) as error:
            raise JobError(
                f"adapter.image_encoder_path: {self.name} cannot be loaded: {error}", "It must have its weights as safetensors."
            ) from error
        beside = [self.folder, self.folder.parent / "feature_extractor"]
        if told := next((folder for folder in beside if (folder / "preprocessor_config.json").is_file()), None):
            self.processor = AutoImageProcessor.from_pretrained(told, local_files_only=True)
        else:  # as diffusers' pipelines do
            side = self.config.image_size
            self.processor = PROCESSORS[self.sight](
                **(
                    {"size": {"shortest_edge": side}, "crop_size": side}
                    if self.sight == "clip"
                    else {"size": {"height": side, "width": side}}
                )
            )

    @torch.no_grad()
    def look(self, pictures: Sequence[Image.Image]) -> Tensor:
        """What it says of pictures: B L D, in fp32."""
        pixels = self.processor(images=[picture.convert("RGB") for picture in pictures], return_tensors="pt").pixel_values.to(
            self.model.device
        )
        seen = self.model(pixels)
        return seen.image_embeds[:, None] if self.sight == "clip" else seen.last_hidden_state

    def close(self) -> None:
        del self.model
