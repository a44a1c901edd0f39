"""A job that changes captions, and what it can do to each of them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import regex
from pydantic import Field, ValidationInfo, field_validator, model_validator

from ..base import Strict
from .captions import CaptionsJob


class Append(Strict):
    """Text behind the caption. It is left out where the caption ends with it already."""

    type: Literal["append"]
    text: Annotated[str, Field(min_length=1)]
    """As it is to stand there, with its comma or space."""


class Prepend(Strict):
    """Text before the caption. It is left out where the caption begins with it already."""

    type: Literal["prepend"]
    text: Annotated[str, Field(min_length=1)]
    """As it is to stand there, with its comma or space."""


class Replace(Strict):
    """Find and replace."""

    type: Literal["replace"]
    find: Annotated[str, Field(min_length=1, max_length=1000)]
    """What is looked for."""
    replacement: str = ""
    """What takes its place. Of a regular expression, \\\\1 is its first group."""
    regular_expression: bool = False
    """find is a regular expression."""
    ignore_case: bool = False
    """Capital and small letters count as the same."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Replace:
        if self.regular_expression:
            try:
                regex.compile(self.find)
            except regex.error as error:
                raise ValueError(f"{self.find!r} is no regular expression: {error}.") from None
            try:
                regex.sub(f"(?:{self.find})|", self.replacement, "", timeout=1)  # fits anything, and has the same groups
            except (regex.error, IndexError):
                raise ValueError(f"{self.replacement!r} names a group that {self.find!r} does not have.") from None
        return self


class Trim(Strict):
    """No spaces at the ends and no doubled ones, no empty or doubled commas, no comma at the end."""

    type: Literal["trim"]


Edit = Annotated[Append | Prepend | Replace | Trim, Field(discriminator="type")]


class EditCaptionsJob(CaptionsJob):
    """Change the captions of a folder. What they were is kept with the run, so that it can be undone."""

    title: ClassVar[str] = "Edit captions"
    kind: Literal["edit_captions"] = "edit_captions"
    edits: list[Edit] = []
    """What is done to each caption, in this order."""
    dry_run: bool = False
    """List what would change, and write nothing."""
    undo: Annotated[str | None, Field(validate_default=True)] = None
    """Name or folder of a run that wrote captions: they become what they were before it. Given alone, without edits."""

    @field_validator("undo")
    @classmethod
    def _one_of_both(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "edits" in info.data and bool(value) == bool(info.data["edits"]):
            raise ValueError("it is given either edits, or a run to undo.")
        return value
