"""What must work on this computer for Darkroom to work, each looked at by itself. Imports everything, one thing at a time."""

from __future__ import annotations

import importlib
import importlib.metadata as metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from . import __version__
from .check import Finding
from .settings import ROOT, home, load_settings

GB = 1e9


def examine() -> Iterator[Finding]:
    """All findings, in the order in which one thing needs the other."""
    for look in (_python, _packages, _torch, _memory, _folders, _bitsandbytes, _families, _extensions, _hub):
        yield from _guarded(look)


def _guarded(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What a look finds; if it fails, that is a finding too."""
    try:
        yield from look()
    except Exception as error:  # a broken library must not hide what the other looks find
        yield Finding(False, f"{look.__name__.strip('_')}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


def _python() -> Iterator[Finding]:
    system = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} processors"
    yield Finding(True, f"Darkroom {__version__}, Python {platform.python_version()}, {system}")


def _packages() -> Iterator[Finding]:
    """The packages of requirements.txt, in their ranges."""
    from packaging.requirements import Requirement

    wrong, versions = [], []
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines():
        if not (text := line.partition("#")[0].strip()):
            continue
        wanted = Requirement(text)
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{text} is missing")
            continue
        versions.append(f"{wanted.name} {version}")
        if not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{wanted.name} is {version}, wanted is {wanted.specifier}")
    if wrong:
        yield Finding(False, f"{'; '.join(wrong)}. Delete the folder .venv and start launch.sh again.")
    yield Finding(True, ", ".join(versions))


def _torch() -> Iterator[Finding]:
    card = _nvidia()
    try:
        import torch
    except (ImportError, OSError) as error:
        more = " On Windows it needs Microsoft's Visual C++ Redistributable." if os.name == "nt" else ""
        yield Finding(False, f"PyTorch cannot be loaded: {error}. Delete the folder .venv and start launch.sh again.{more}")
        return
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            yield Finding(
                True, f"Graphics card: {properties.name}, {properties.total_memory / GB:.0f} GB, {bf16}, CUDA {torch.version.cuda}"
            )
    elif card and torch.version.cuda is None:
        yield Finding(
            False,
            f"There is an NVIDIA card ({card}), but PyTorch is the build for processors. Delete the folder .venv and start launch.sh again.",
        )
    elif card:
        yield Finding(
            False, f"There is an NVIDIA card ({card}), but PyTorch (CUDA {torch.version.cuda}) cannot use it. Install the newest driver."
        )
    elif torch.backends.mps.is_available():
        yield Finding(True, "Graphics: Apple's, through MPS")
    else:
        yield Finding(True, "No graphics card: the Starter trains in minutes, large models do not train here.")
    total = torch.ones(64, 64).matmul(torch.ones(64, 64)).sum().item()
    yield Finding(total == 64**3, f"PyTorch {torch.__version__} computes with {torch.get_num_threads()} threads")


def _nvidia() -> str | None:
    """The name of the NVIDIA card, from its driver."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return None
    try:
        done = subprocess.run(
            [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def _memory() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    text = f"Memory: {memory.available / GB:.0f} of {memory.total / GB:.0f} GB free"
    yield Finding(
        memory.available > 2 * GB, text if memory.available > 2 * GB else f"{text}. Close other programs: 2 GB are needed for the Starter."
    )


def _folders() -> Iterator[Finding]:
    from huggingface_hub import constants

    settings = load_settings()
    for title, folder, needed in (
        ("Runs", settings.folder("output"), 1),
        ("Caches", settings.folder("cache"), 1),
        ("Downloaded models", _existing(Path(constants.HF_HUB_CACHE)), 0),
    ):
        free, writable = shutil.disk_usage(folder).free / GB, os.access(folder, os.W_OK)
        what = (
            ""
            if writable and free >= needed
            else ". Make room there, or choose another folder in Settings"
            if writable
            else ". It cannot be written"
        )
        yield Finding(writable and free >= needed, f"{title} in {folder}, {free:.0f} GB free{what}")
    if not (ROOT / "assets" / "starter" / "model_index.json").is_file():
        yield Finding(False, f"The Starter is missing from {ROOT / 'assets'}. Get a whole copy of Darkroom.")
    if home() != ROOT:
        yield Finding(True, f"What you make is kept in {home()} (DARKROOM_HOME)")


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _bitsandbytes() -> Iterator[Finding]:
    """On a card, an 8-bit step; elsewhere that it can be loaded."""
    import torch

    try:
        bitsandbytes = importlib.import_module("bitsandbytes")
        if torch.cuda.is_available():
            weight = torch.nn.Parameter(torch.ones(64, 64, device="cuda"))
            weight.grad = torch.ones_like(weight)
            bitsandbytes.optim.AdamW8bit([weight], lr=0.1, min_8bit_size=1).step()
            if bool((weight >= 1).any()):
                raise RuntimeError("a step changed nothing")
    except Exception as error:  # it fails in many ways, with the driver's
        yield Finding(False, f"bitsandbytes does not work: {error}. Until it does, choose the optimizer adamw.")
        return
    where = "makes steps of AdamW8bit" if torch.cuda.is_available() else "can be loaded; without a card, adamw is used in its place"
    yield Finding(True, f"bitsandbytes {where}")


def _families() -> Iterator[Finding]:
    from .errors import JobError
    from .families.catalog import FAMILIES, load_family

    for name in FAMILIES:
        try:
            load_family(name)
        except JobError as error:
            yield Finding(False, str(error))
        else:
            yield Finding(True, f"Family {name} can be loaded")


def _extensions() -> Iterator[Finding]:
    from .extensions import load_extensions

    for warning in load_extensions():
        yield Finding(False, f"{warning.message} {warning.hint}")


def _hub() -> Iterator[Finding]:
    from huggingface_hub import get_token

    yield Finding(
        True, "A token for the hub is set" if get_token() else "No token for the hub: only gated models, such as FLUX.1 dev, need one"
    )
