"""What this computer has, asked without torch: a torch that does not work must not keep the window from opening."""

from __future__ import annotations

import functools
import platform
import shutil
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    name: str
    gigabytes: float


@functools.cache
def card() -> Card | None:
    """The graphics card that training would use; None on a processor."""
    tool = shutil.which("nvidia-smi")
    if tool:
        query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
        try:
            lines = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
            name, _, memory = lines[0].rpartition(",")
            return Card(name.strip().removeprefix("NVIDIA ").removeprefix("GeForce "), float(memory) / 1024)
        except (OSError, subprocess.SubprocessError, IndexError, ValueError):
            return None
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        import psutil

        return Card("Apple graphics", psutil.virtual_memory().total / 2**30)
    return None


def device_words() -> str:
    """The device inside a sentence: "on your RTX 4090"."""
    found = card()
    return f"on your {found.name}" if found else "on this computer's processor"
