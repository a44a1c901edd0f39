"""What is measured on pictures that are not trained on."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from .base import Strict


class Validation(Strict):
    """The loss on pictures that are not trained on: it falls while something is learned, and rises when pictures are learned by heart."""

    every: Annotated[int | None, Field(ge=1)] = None
    """Steps between measurements; there is one before the first step and one at the end too. Left empty: nothing is held back and nothing measured."""
    share: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Share of the pictures of each data set that is held back for it: always the same ones, copies and mirrored ones with them."""
    path: str | None = None
    """A folder of pictures with captions for it, instead of a share."""
    control_path: list[str] = []
    """Folders with the reference pictures of that folder, for an edit model."""
    sigmas: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1, max_length=16)] = [0.25, 0.5, 0.75]
    """Noise levels at which it is measured, always with the same noise. 1 is noise alone."""

    @model_validator(mode="after")
    def _has_an_effect(self) -> Self:
        if self.every is None and self.differs("share", "path", "control_path", "sigmas"):
            raise ValueError("without every nothing is measured. Set validation.every, for example to 50.")
        if self.path is None and self.control_path:
            raise ValueError("control_path is for the folder of path, and there is none.")
        return self
