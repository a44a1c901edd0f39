"""How different two pictures look to a model that knows pictures: the distance of its features, after Zhang et al. 2018 (LPIPS).

No library of that loss comes without pickled weights, so any vision model of transformers that is named takes the place of its network;
all layers count alike. Tried with transformers 5.23 and ResNet, DINOv2, CLIP and EfficientNet. B C H W as usual, L tokens, D features.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel

from ..errors import JobError
from ..runtime.places import fetch_place, find_place

KEY = "train.perceptual_model"


class Perceptual:
    """Frozen, in fp32."""

    def __init__(self, name: str, device: torch.device):
        """``name``: a folder or an id on the hub."""
        folder = fetch_place(find_place(name, KEY), ".")
        try:
            model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise JobError(
                f"{KEY}: {name} cannot be loaded: {error}", "Name a vision model of transformers that has its weights as safetensors."
            ) from error
        self.model = getattr(model, "vision_model", model).to(device).eval().requires_grad_(False)
        if getattr(self.model, "main_input_name", "") != "pixel_values":
            raise JobError(f"{KEY}: {name} looks at no pictures.", "Name a vision model, for example one of ResNet or DINOv2.")
        settings = folder / "preprocessor_config.json"
        told = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
        self.mean, self.std = (
            torch.tensor(told.get(key) or [0.5] * 3, device=device).view(1, 3, 1, 1) for key in ("image_mean", "image_std")
        )
        config = self.model.config
        self.side = config.image_size if hasattr(config, "patch_size") and isinstance(getattr(config, "image_size", None), int) else None

    def __call__(self, restored: Tensor, pixels: Tensor) -> Tensor:
        """Mean squared distance of the directions of features, over layers and places. Pictures are in [-1, 1]."""
        theirs = self.features(pixels)
        ours = self.features(restored)
        return torch.stack([(one - other).square().sum(1).mean() for one, other in zip(ours, theirs, strict=True)]).mean()

    def features(self, pixels: Tensor) -> Sequence[Tensor]:
        """Of each layer, as vectors of length one along the second dimension."""
        shown = ((pixels + 1) / 2 - self.mean) / self.std
        if self.side:
            shown = F.interpolate(shown, (self.side, self.side), mode="bilinear", antialias=True)
        layers = self.model(pixel_values=shown, output_hidden_states=True).hidden_states
        return [F.normalize(layer if layer.ndim == 4 else layer.transpose(1, 2), dim=1) for layer in layers]
