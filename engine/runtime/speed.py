"""How fast a device is at most: measured once by a matrix product, and kept in the cache folder."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

import torch

from ..runs.atomic import replace_text

FILE = "speed.json"
SIDE = {"cpu": 1024}
"""Rows and columns of the matrices, by type of device."""
USUAL_SIDE, LEAST_SIDE, ROUNDS = 8192, 1024, 5


def peak_speed(device: torch.device, dtype: torch.dtype, cache: Path) -> float:
    """Floating-point operations a second of a large matrix product. Measuring takes a moment, and waits for the device; the note of it does not."""
    known = _known(cache / FILE)
    key = f"{_name(device)}, {dtype}"
    if key not in known:
        known = {**known, key: _measured(device, dtype)}
        with suppress(OSError):  # a saving of time, no more
            replace_text(cache / FILE, json.dumps(known, indent=1))
    return known[key]


def _known(file: Path) -> dict[str, float]:
    try:
        found = json.loads(file.read_text("utf-8"))
        return {key: value for key, value in found.items() if isinstance(value, float) and value > 0}
    except (OSError, ValueError, AttributeError):
        return {}


def _name(device: torch.device) -> str:
    if device.type == "cpu":
        return f"processor with {torch.get_num_threads()} threads"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type)


def _measured(device: torch.device, dtype: torch.dtype) -> float:
    side = SIDE.get(device.type, USUAL_SIDE)
    while True:
        try:
            return _product(side, device, dtype)
        except torch.OutOfMemoryError:  # a model fills the device: smaller ones tell nearly the same
            if side <= LEAST_SIDE:
                raise
            side //= 2


@torch.no_grad()
def _product(side: int, device: torch.device, dtype: torch.dtype) -> float:
    """The best of some rounds. Random values, as in training: a device may be faster on others."""
    rng = torch.Generator(device).manual_seed(0)  # a generator of its own: nothing that training draws changes
    left, right = (torch.randn(side, side, generator=rng, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(ROUNDS):
        _wait(device)
        begun = time.perf_counter()
        left @ right
        _wait(device)
        times.append(time.perf_counter() - begun)
    return 2 * side**3 / min(times)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
