"""What every model that looks at pictures is asked, whatever the tool."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..base import AnyDtype, Strict


class Model(Strict):
    """A model that looks at pictures."""

    dtype: AnyDtype = "auto"
    """Precision of the model. auto: bf16 on a graphics card, fp32 on a processor."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 1
    """Pictures at once. More is faster on a graphics card, and takes more memory."""
