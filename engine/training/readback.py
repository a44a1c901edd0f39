"""Losses from the device without making it wait: each is read when its copy has arrived, some steps later."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor


class Readback:
    """A queue of (step, loss). On a processor every loss is there at once."""

    def __init__(self, device: torch.device):
        self.device = device
        self.waiting: deque[tuple[int, Tensor, torch.Event | None]] = deque()

    def push(self, step: int, loss: Tensor) -> None:
        if self.device.type == "cpu":
            self.waiting.append((step, loss.detach(), None))
            return
        host = torch.empty((), dtype=torch.float32, pin_memory=self.device.type == "cuda")
        host.copy_(loss.detach(), non_blocking=True)
        arrived = torch.Event(self.device)
        arrived.record()
        self.waiting.append((step, host, arrived))

    def take(self, wait: bool = False) -> list[tuple[int, float]]:
        """The losses that have arrived, oldest first; with ``wait`` all of them."""
        ready = []
        while self.waiting:
            step, host, arrived = self.waiting[0]
            if arrived is not None and not arrived.query():
                if not wait:
                    break
                arrived.synchronize()
            self.waiting.popleft()
            ready.append((step, float(host)))
        return ready
