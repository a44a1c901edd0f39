"""What a training would say in its first seconds, said before: of its settings, of the family of its base model, of its data. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..data.scan import Item
from ..data.sizes.buckets import place
from ..errors import JobError
from ..events import Event
from ..families.catalog import FAMILIES, base_of, defaults_of, family_name, multiple_of, pipeline_in
from ..families.facts import FACTS, Facts
from ..jobs import ModelSection, TrainJob
from ..jobs.adapters import IpAdapter, Redux
from ..runs.trackers import missing
from ..runtime.hub import arch_of, place_of
from .checks import check_family, check_inpainting, check_references, check_settings, with_first_frames
from .control_notes import as_made, small_controls
from .looked_at import looks_notes, with_looks
from .prompts import check_prompts


def check_before(job: TrainJob) -> Iterator[Event]:
    """Of settings alone: reads no picture. Raises JobError for what cannot be."""
    yield from check_settings(job)
    yield from missing(job)
    if known := known_family(job.model):
        check_family(job, *known)


def check_data_before(job: TrainJob, items: Sequence[Item]) -> Iterator[Event]:
    """Of all pictures of the job, as they are scanned. Raises JobError where they do not go together with it."""
    items, looks = list(items), isinstance(job.adapter, IpAdapter | Redux)
    yield from check_prompts(job, items)
    items = [as_made(item, job.datasets[item.dataset]) for item in items]
    yield from looks_notes(job.datasets, looks)
    items = with_looks(job.datasets, items) if looks else items
    if (known := known_family(job.model)) and items:
        items = yield from with_first_frames(job, *known, items)
        check_references(job, *known, items)
        check_inpainting(*known, items)
        if not looks:
            name, arch = job.model.name_or_path, job.model.arch
            yield from small_controls(items, place(job.datasets, items, defaults_of(name, arch).resolution, multiple_of(name, arch)))


def known_family(model: ModelSection) -> tuple[Facts, str] | None:
    """The family of a base model and what the model is called, as far as this computer knows without asking anybody."""
    try:
        place = place_of(model)
        name = family_name(arch_of(model), pipeline_in(place), place) if isinstance(place, Path) else arch_of(model)
    except JobError:
        return None  # said where the model is looked for
    if name is None and (base := base_of(model.name_or_path)):
        name = base.family
    name = family_name(name, None) if name else None
    if name not in FACTS:
        return None
    return FACTS[name], defaults_of(model.name_or_path, name).title or FAMILIES[name].name
