"""The samples of a training of an adapter: which control pictures they are drawn with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..data.words import listed
from ..errors import JobError
from ..events import Event, Warned
from ..families.base import Request
from ..jobs.adapters import Guide
from ..settings import resolve


def with_test_pictures(requests: Sequence[Request], settings: Guide | None) -> list[Request]:
    """Those that name no control picture with one of ``adapter.test_img_path``, in turn."""
    paths = [str(resolve(path)) for path in settings.test_img_path] if settings else []
    return [
        replace(one, controls=(paths[index % len(paths)],)) if paths and not one.controls else one for index, one in enumerate(requests)
    ]


def check_samples(requests: Sequence[Request], pictures: int) -> Iterator[Event]:
    """Prompts with another number of control pictures than the adapter is shown: those without any are drawn without it."""
    if odd := [one.prompt for one in requests if len(one.controls) not in (0, pictures)]:
        raise JobError(
            f"The sample prompt {odd[0]!r} has another number of control pictures than the adapter is shown, {pictures}.",
            "Give it ctrl_img alone.",
        )
    if bare := [one.prompt for one in requests if not one.controls]:
        yield Warned(
            message=f"Without a control picture, the adapter has nothing to follow: {listed([repr(one) for one in bare])} {'is' if len(bare) == 1 else 'are'} drawn by the base model alone.",
            hint="Give each prompt its ctrl_img under sample.samples, or all of them adapter.test_img_path.",
        )
