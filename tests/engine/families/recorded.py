"""What the public implementation of a model was given and answered: see fixtures/record_*.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn


@dataclass(frozen=True)
class Recorded:
    config: dict[str, Any]
    weights: dict[str, Tensor]
    given: dict[str, Tensor]
    answers: dict[str, Tensor]

    @classmethod
    def read(cls, path: Path) -> Recorded:
        kinds: dict[str, dict[str, Tensor]] = {"weights": {}, "given": {}, "answers": {}}
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                kind, _, rest = name.partition("/")
                kinds[kind][rest] = file.get_tensor(name)
            return cls(json.loads(file.metadata()["config"]), **kinds)

    def model(self, kind: type[nn.Module], **flags: Any) -> Any:
        """A model of ours with the recorded weights, in full precision."""
        made = kind(**self.config, **flags)
        made.load_state_dict({name: weight.to(torch.float32) for name, weight in self.weights.items()}, strict=True)
        return made.eval()
