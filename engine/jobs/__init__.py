"""What is to be done, as data. Importing it loads pydantic and YAML, never torch."""

from .base import Dtype, Job, ModelSection, SampleItem, SampleSettings, Strict
from .data import Dataset
from .explain import explain
from .generate import GenerateJob, LoraFile
from .load import KINDS, dump_job, load_job, load_job_with_notes, read_yaml
from .networks import Adapter, Decorator, Dora, Embedding, Full, Loha, Lokr, Lora, Network, Nothing, Oft
from .train import Ema, Logging, Sample, Save, Train, TrainJob, TrainModel
from .vae import VaeDataset, VaeJob, VaeTrain

__all__ = [
    "KINDS",
    "Adapter",
    "Dataset",
    "Decorator",
    "Dora",
    "Dtype",
    "Ema",
    "Embedding",
    "Full",
    "GenerateJob",
    "Job",
    "Logging",
    "Loha",
    "Lokr",
    "Lora",
    "LoraFile",
    "ModelSection",
    "Network",
    "Nothing",
    "Oft",
    "Sample",
    "SampleItem",
    "SampleSettings",
    "Save",
    "Strict",
    "Train",
    "TrainJob",
    "TrainModel",
    "VaeDataset",
    "VaeJob",
    "VaeTrain",
    "dump_job",
    "explain",
    "load_job",
    "load_job_with_notes",
    "read_yaml",
]
