"""A critic that learns to tell restored pictures from real ones, patch by patch, while the autoencoder learns to pass (Isola et al. 2017)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (32, 64, 128)


class Critic:
    """Says of each patch of pictures how real it is. All its first weights follow from the seed."""

    def __init__(self, lr: float, seed: int, device: torch.device):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.model = _patches().to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr, betas=(0.5, 0.9), weight_decay=0.0)

    def against(self, restored: Tensor) -> Tensor:
        """The loss of whoever restored: how far it is seen through."""
        self.model.requires_grad_(False)
        return -self.model(restored).mean()

    def learn(self, pixels: Tensor, restored: Tensor) -> None:
        """One step towards telling them apart, by hinge loss."""
        self.model.requires_grad_(True)
        loss = F.relu(1 - self.model(pixels)).mean() + F.relu(1 + self.model(restored.detach())).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def _patches() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 4, 2, 1), nn.LeakyReLU(0.2)]
    for before, after in pairwise(WIDTHS):
        layers += [nn.Conv2d(before, after, 4, 2, 1), nn.GroupNorm(8, after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(WIDTHS[-1], 1, 3, 1, 1))
