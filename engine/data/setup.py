"""A folder or a job, opened to be looked at: its items, and the sizes that its model wants. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import JobError
from ..events import Warned
from ..families.catalog import defaults_of, multiple_of, reference_size_of
from ..jobs import Dataset, TrainJob, load_job
from ..settings import load_settings, resolve
from .scan import Item, scan
from .sizes.references import SizeOf
from .words import printable


@dataclass(frozen=True)
class Setup:
    """What a training of these data sets would begin with."""

    name: str
    datasets: list[Dataset]
    items: list[Item]
    resolution: int | Sequence[int]
    """Of the model, for data sets that say none."""
    multiple: int
    """Sides are multiples of this."""
    batch_size: int = 1
    seed: int = 42
    notes: list[Warned] = field(default_factory=list)
    """What a person should know of the data, such as files that are left out."""
    reference_size: SizeOf | None = None
    """How large the model is shown reference pictures, where that is not the size of their picture."""

    def place_for(self, out: Path | None = None) -> Path:
        """A folder for what is drawn of it: ``out``, or one in the cache. JobError if it is in a data set."""
        place = (out or load_settings().folder("cache") / "previews" / self.name).resolve()
        for dataset in self.datasets:
            folder = resolve(dataset.path).resolve()
            if place == folder or folder in place.parents:
                raise JobError(f"{printable(place)} is in the data set.", "Give another folder for what is drawn: data sets are only read.")
        return place


def open_setup(source: Path, resolution: int | None = None, base: str | None = None) -> Setup:
    """The data sets of a job, or a folder as a data set with the default settings; captions may be missing.

    ``resolution`` takes the place of the data sets' own, ``base`` of the job's base model.
    """
    path = resolve(source)
    job = None if path.is_dir() else load_job(path)
    if job is not None and not isinstance(job, TrainJob):
        raise JobError(f"{printable(source)} is a {job.kind} job.", "Give a folder of pictures, or a job that trains.")
    changes = {"resolution": resolution, "buckets": []} if resolution else {}
    given = job.datasets if job else [Dataset(path=str(path))]
    datasets = [one.model_copy(update={"default_caption": one.default_caption or "", **changes}) for one in given]
    model, arch = (job.model.name_or_path, job.model.arch) if job else ("", None)
    if base is not None:
        model, arch = base, None
    wanted = defaults_of(model, arch).resolution
    notes: list[Warned] = []
    items = [item for index, one in enumerate(datasets) for item in scan(one, index=index, notes=notes)]
    size, seed = (job.train.batch_size, job.train.seed) if job else (1, 42)
    shows = reference_size_of(model, arch, job.model.model_kwargs if job else {}) if model else None
    return Setup(
        job.name if job else path.name or "data",
        datasets,
        items,
        wanted,
        multiple_of(model, arch) if model else 16,
        size,
        seed,
        notes,
        shows,
    )
