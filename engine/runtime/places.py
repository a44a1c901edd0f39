"""Which place each part of a base model comes from, as the job's model section says it. No torch here.

The base is the folder in diffusers layout that has the model_index.json. Other keys name places that take the place of
one part of it: another folder in diffusers layout, the folder of that part alone, a single .safetensors, all of them on
this computer or on the hub ("owner/name", "owner/name/folder/file.safetensors").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

from ..errors import JobError
from ..families.sources import PICKLES
from ..jobs import ModelSection
from ..settings import load_settings, resolve
from .hub import base_name, hub_errors

LORA = "pytorch_lora_weights.safetensors"
"""What diffusers calls the LoRA of a folder."""


@dataclass(frozen=True)
class Place:
    """What a key of the job names, as far as this computer knows."""

    name: str
    """As the job says it."""
    path: Path | None = None
    """The folder or the file; None if only the hub has it."""
    repo: str = ""
    """Its name on the hub, and the file in it."""
    file: str = ""

    @property
    def is_file(self) -> bool:
        return self.path.is_file() if self.path else bool(self.file)


def find_place(name: str, key: str = "model.name_or_path") -> Place:
    """On this computer, else in the folder with models of the settings, else a name on the hub; asks nobody."""
    models = load_settings().models
    beside = [Path(models) / name, Path(models) / Path(name).name] if models else []
    suffix = Path(name).suffix.lower()
    if suffix in PICKLES:
        raise JobError(f"{name} is a pickle file, which can run code when it is opened.", "Use a .safetensors version of the model.")
    if found := next((path for path in (resolve(name), *beside) if path.exists()), None):
        if found.is_file() and suffix != ".safetensors":
            raise JobError(f"{key}: {name} is no model file.", "Give a folder, or a .safetensors file.")
        return Place(name, found.resolve())
    owner, _, rest = name.partition("/")
    title, _, file = rest.partition("/")
    if not owner or not title or owner.startswith((".", "~")) or (file and suffix != ".safetensors"):
        raise JobError(
            f"There is nothing at {name}, which {key} names.",
            "Give a folder, a .safetensors file, or a hub id such as black-forest-labs/FLUX.1-dev.",
        )
    return Place(name, None, f"{owner}/{title}", file)


def other_places(model: ModelSection) -> dict[str, str]:
    """Key of the job → what it names, for the parts that do not come from the base."""
    named = {"unet_path": model.unet_path, "vae_path": model.vae_path, "te_name_or_path": model.te_name_or_path}
    if not model.unet_path and base_name(model) != model.name_or_path:
        named["name_or_path"] = model.name_or_path
    return {f"model.{key}": name for key, name in named.items() if name}


def fetch_place(place: Place, part: str, revision: str | None = None) -> Path:
    """The place as a path on this computer, fetched from the hub where it is not here.

    Of a whole model on the hub only the folder ``part`` is fetched; of a repository without one, the files at its top.
    """
    if place.path:
        return place.path
    with hub_errors(place.repo, revision):
        if place.file:
            return Path(HfApi().hf_hub_download(place.repo, place.file, revision=revision))
        wanted = ["*.json", "*.safetensors"]
        folder = Path(snapshot_download(place.repo, revision=revision, allow_patterns=[f"{part}/{one}" for one in wanted]))
        if not (folder / part / "config.json").is_file():
            folder = Path(snapshot_download(place.repo, revision=revision, allow_patterns=wanted, ignore_patterns=["*/*"]))
        return folder


def recovery_of(model: ModelSection) -> str | None:
    """The accuracy recovery adapter that the job names. A JobError where it cannot be with what else the job wants."""
    if not (adapter := model.accuracy_recovery_adapter):
        return None
    if not model.quantize or not model.qtype.startswith("uint"):
        raise JobError(
            "model.accuracy_recovery_adapter makes up for weights of 2 to 7 bits, which this job does not ask for.",
            "Set model.quantize to true and model.qtype to what the adapter was made for, for example uint3.",
        )
    if model.assistant_lora_path:
        raise JobError(
            "An accuracy recovery adapter and an assistant LoRA do not go together: each was made for the model without the other.",
            "Leave out model.assistant_lora_path, or model.accuracy_recovery_adapter and choose model.qtype qfloat8.",
        )
    if model.quantize_kwargs.include or model.quantize_kwargs.exclude:
        raise JobError("Which layers are quantized is said by the accuracy recovery adapter.", "Leave out model.quantize_kwargs.")
    return adapter


def fetch_lora(name: str, key: str) -> Path:
    """A LoRA as a file on this computer: a file, a folder that holds one, or "owner/name" or "owner/name/file" on the hub."""
    place = find_place(name, key)
    if (path := place.path) is None:
        with hub_errors(place.repo):
            if place.file:
                return Path(HfApi().hf_hub_download(place.repo, place.file))
            path = Path(snapshot_download(place.repo, allow_patterns=["*.safetensors"], ignore_patterns=["*/*"]))
    if path.is_file():
        return path
    files = sorted(file.name for file in path.glob("*.safetensors"))
    if len(files) == 1 or LORA in files:
        return path / (LORA if LORA in files else files[0])
    raise JobError(
        f"{key}: {name} has {'no .safetensors file' if not files else f'{len(files)} .safetensors files'}.",
        f"Name one of them: {name}/{files[0]}." if files else "Choose the folder or the file of a LoRA.",
    )


def part_folder(folder: Path, part: str) -> Path | None:
    """Where in ``folder`` the config of a part is: in the folder of its name, or at the top."""
    return next((place for place in (folder / part, folder) if (place / "config.json").is_file()), None)
