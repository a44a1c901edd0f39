"""Which device computes, and in which precision."""

from __future__ import annotations

import contextlib
import gc

import torch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def pick_device() -> torch.device:
    """The first accelerator that torch sees, else the processor."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator if accelerator is not None else torch.device("cpu")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype that a job names. auto: fp32 on a processor (many have no bf16 arithmetic), bf16 where there is, else fp16."""
    if name != "auto":
        return DTYPES[name]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if device.type != "cuda" or torch.cuda.is_bf16_supported() else torch.float16


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[None]:
    """Arithmetic in ``dtype``; nothing to do for fp32. Thread-local: never hold it over a ``yield``."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def free(device: torch.device) -> None:
    """Give unused memory back. The caller drops its own references first."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class Peak:
    """The most memory held since the last look, in bytes: of the device, or of this process on a processor."""

    def __init__(self, device: torch.device):
        self.device = device
        self.take()

    def now(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device)
        import psutil

        return psutil.Process().memory_info().rss

    def reserved(self) -> int | None:
        """What torch's allocator keeps for itself, used or not; None on a processor."""
        return torch.cuda.memory_reserved(self.device) if self.device.type == "cuda" else None

    def take(self) -> int:
        """The peak, and begin anew. A processor keeps no record per phase, so there it is what is held now."""
        if self.device.type != "cuda":
            return self.now()
        peak = torch.cuda.max_memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        return peak
