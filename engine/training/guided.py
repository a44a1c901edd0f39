"""A training of an adapter: what its data and its samples must have, and settings that do not go with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..data.scan import Item
from ..data.words import count, listed
from ..errors import JobError
from ..events import Event, Warned
from ..families.base import Request
from ..jobs import Full, TrainJob
from ..jobs.adapters import Guide
from ..settings import resolve

TOGETHER = ("slider", "replacements", "embedding", "decorator")
"""Other things that a job can learn, none of which an adapter learns with."""


def check_guided(job: TrainJob, pictures: int, items: Sequence[Item]) -> Iterator[Event]:
    """Of a job with an adapter that is shown so many ``pictures`` with each. Raises JobError where it cannot be."""
    assert job.adapter is not None
    if both := [key for key in TOGETHER if getattr(job, key)]:
        raise JobError(f"A job has both adapter and {both[0]}.", "Make two jobs of it.")
    if job.train.train_text_encoder:
        raise JobError("train.train_text_encoder does not go together with adapter: all but the adapter stays as it is.", "Leave it out.")
    if isinstance(job.network, Full):
        raise JobError("network full does not go together with adapter: all but the adapter stays as it is.", "Leave network out.")
    if job.network.type != "none":
        yield Warned(message="network has no effect: the adapter is trained alone.")
    counts = {len(item.controls) for item in items}
    if counts != {pictures}:
        raise JobError(
            f"The adapter follows {count(pictures, 'control picture')} with each picture, and the data has {' or '.join(str(one) for one in sorted(counts))}.",
            "Set control_path to the folder of control pictures under the same names, or controls: [canny] to have them made.",
        )


def with_test_pictures(requests: Sequence[Request], settings: Guide | None) -> list[Request]:
    """Those that name no control picture with one of ``adapter.test_img_path``, in turn."""
    paths = [str(resolve(path)) for path in settings.test_img_path] if settings else []
    return [replace(one, controls=(paths[index % len(paths)],)) if paths and not one.controls else one for index, one in enumerate(requests)]


def check_samples(requests: Sequence[Request], pictures: int) -> Iterator[Event]:
    """Prompts with another number of control pictures than the adapter is shown: those without any are drawn without it."""
    if odd := [one.prompt for one in requests if len(one.controls) not in (0, pictures)]:
        raise JobError(f"The sample prompt {odd[0]!r} has another number of control pictures than the adapter is shown, {pictures}.", "Give it ctrl_img alone.")
    if bare := [one.prompt for one in requests if not one.controls]:
        yield Warned(
            message=f"Without a control picture, the adapter has nothing to follow: {listed([repr(one) for one in bare])} {'is' if len(bare) == 1 else 'are'} drawn by the base model alone.",
            hint="Give each prompt its ctrl_img under sample.samples, or all of them adapter.test_img_path.",
        )
