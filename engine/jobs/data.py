"""One data set of a training: which files it takes, which words go with them, and how they are shown to the model."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from .base import Strict


def _as_list(value: Any) -> Any:
    return [] if value is None else value if isinstance(value, list) else [value]


class Dataset(Strict):
    """One folder of pictures with captions."""

    path: Annotated[str, Field(validation_alias=AliasChoices("path", "folder_path"))]
    """Folder with the pictures. It is read, never written."""
    caption_ext: str = ".txt"
    """A caption is the text file beside the picture, with this ending."""
    default_caption: str | None = None
    """Caption of pictures that have none. Left out: a picture without a caption is an error."""
    trigger_word: str | None = None
    """Trigger words of this data set, instead of the run's."""
    control_path: Annotated[list[str], BeforeValidator(_as_list)] = []
    """Folder with the reference pictures of an edit model: what each picture was made from, under the same name. A list: several for each."""
    caption_dropout_rate: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of steps in which the caption is left empty. Keeps guidance working."""
    resolution: list[Annotated[int, Field(ge=16, le=4096)]] | Annotated[int, Field(ge=16, le=4096)] | None = None
    """Pixels of a side of the square with the same area; several train at several sizes. Left out: what the model is made for."""
    num_repeats: Annotated[int, Field(ge=1, le=10000)] = 1
    """How often each picture comes in one round."""
    flip_x: bool = False
    """Show each picture mirrored as well. Not for faces with a parting, or for letters."""
    upscale: bool = False
    """Enlarge pictures that are smaller than the resolution. Left off: they are trained at their own size."""
