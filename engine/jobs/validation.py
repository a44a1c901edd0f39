"""What is measured on pictures that are not trained on."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from .base import Strict


class ValidationItem(Strict):
    """A picture that nothing is learned from."""

    image_path: str
    """Where it is."""
    prompt: str = ""
    """Its caption."""


class Validation(Strict):
    """The loss on pictures that are not trained on: it falls while something is learned, and rises when pictures are learned by heart."""

    every: Annotated[int | None, Field(ge=1)] = None
    """Steps between measurements; there is one before the first step and one at the end too. Left empty: nothing is held back and nothing measured."""
    share: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Share of the pictures of each data set that is held back for it: always the same ones, copies and mirrored ones with them."""
    path: str | None = None
    """A folder of pictures with captions for it, instead of a share."""
    items: list[ValidationItem] = []
    """Pictures for it one by one, with their captions, instead of a share or a folder."""
    control_path: list[str] = []
    """Folders with the reference pictures of that folder, for an edit model."""
    sigmas: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1, max_length=16)] = [0.25, 0.5, 0.75]
    """Noise levels at which it is measured, always with the same noise. 1 is noise alone."""
    clip_model: str | None = None
    """CLIP model that compares each round of samples with those pictures (CLIP-I) and with its prompts (CLIP-T), for example openai/clip-vit-large-patch14. A folder,
    or a hub id."""
    dino_model: str | None = None
    """DINO model that compares each round of samples with those pictures, looking at the subject itself more than CLIP does, for example facebook/dinov2-base."""

    @model_validator(mode="after")
    def _has_an_effect(self) -> Self:
        if self.every is None and (idle := self.differs("share", "path", "items", "control_path", "sigmas", "clip_model", "dino_model")):
            raise ValueError(f"without every nothing is measured, and {idle[0]} has no effect. Set validation.every, for example to 50.")
        if self.path is None and self.control_path:
            raise ValueError("control_path is for the folder of path, and there is none.")
        if self.path is not None and self.items:
            raise ValueError("path and items both say which pictures are meant. Leave one of the two out.")
        return self
