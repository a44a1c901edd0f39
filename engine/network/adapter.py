"""What all adapters have in common: small trained tensors beside frozen weights. Tried with PEFT 0.21.

PEFT makes the layers; here they get their first weights, their names and their files.
"""

from __future__ import annotations

import contextlib
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from ..errors import JobError
from ..events import Warned
from ..jobs import Adapter, Dtype
from .base import Network, copy_into
from .dropping import leave_out
from .files import write_lora
from .formats import Form, check_named, from_any, unread
from .keys import dialect_of, text_path
from .layers import PEFT, Update, split
from .sizes import Size, choose_layers, sizes_of

ADAPTER = "default"


class AdapterNetwork(Network):
    """A PEFT layer around each chosen layer."""

    is_adapter = True
    kind: ClassVar[str]
    """As in ``network.type``."""
    zero: ClassVar[tuple[str, ...]]
    """Endings of tensors that are zero at first, so that a fresh adapter changes nothing."""
    scaled_by: ClassVar[tuple[str, ...]]
    """Endings of tensors that the update is proportional to, one in each layer."""

    def __init__(
        self,
        settings: Adapter,
        modules: Mapping[str, nn.Module],
        targets: str | Mapping[str, str],
        seed: int = 0,
        family: str | None = None,
    ):
        self.settings, self.family, self.modules = settings, family, dict(modules)
        kernels = find_targets(modules, targets)
        self.idle = [] if settings.conv is None or any(kernels.values()) else ["network.conv"]
        chosen = choose_layers(settings, kernels)
        sizes = sizes_of(settings, {name: kernels[name] for name in chosen})
        self._layers: dict[str, Any] = {}
        for part, module in modules.items():
            module.requires_grad_(False)
            inside = {name.removeprefix(f"{part}."): sizes[name] for name in chosen if name.startswith(f"{part}.")}
            if not inside:
                continue
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)  # PEFT draws on the CPU, whatever the device
                self.inject(module, inside)
            self._layers |= {f"{part}.{name}": module.get_submodule(name) for name in inside}
        leave_out(self._layers.values(), settings.module_dropout)
        super().__init__({f"{path}.{end}": weight for path, layer in self._layers.items() for end, weight in self.weights(layer).items()})

    @abstractmethod
    def inject(self, module: nn.Module, sizes: Mapping[str, Size]) -> None:
        """PEFT layers around the layers of these names, with these sizes."""

    @abstractmethod
    def weights(self, layer: Any) -> dict[str, nn.Parameter]:
        """The trained tensors of a PEFT layer, by their endings in files."""

    def alpha(self, layer: Any) -> float | None:
        """Of a PEFT layer, as it stands in files; None where files of its kind have none."""
        return float(layer.alpha[ADAPTER])

    def check_form(self, form: Form) -> None:
        """A JobError where a layer has no name in this form of files."""
        check_named((_file_path(name) for name in self._layers), form, self.family)

    def form_note(self, form: Form) -> Warned | None:
        """What is to be said where other tools find only some of the layers in a file of this form."""
        return unread({_file_path(name): self.kind for name in self._layers}, form, self.family)

    def save(self, path: Path, metadata: Mapping[str, str], dtype: Dtype, form: Form, part: str | None = None) -> None:
        """``part``: only this part of the model, for the forms that have a file for each of two experts."""
        ours = {name: tensor for name, tensor in self._canonical().items() if part in (None, name.split(".")[0])}
        if part:  # alone in its file, an expert is called as if there were no other
            first = dialect_of(self.family).part
            ours = {f"{first}.{name.partition('.')[2]}": tensor for name, tensor in ours.items()}
        write_lora(path, ours, metadata, dtype, form, self.family)

    def load(self, path: Path, part: str | None = None) -> None:
        """Layers that the file lacks start fresh; layers that this run lacks are an error.

        ``part``: the denoiser that a file of one expert is for.
        """
        layers = self._named_here(split(from_any(path, self.family, self._denoiser_paths(part))), part)
        for name, layer in layers.items():
            self._check(path.name, name, layer)
        with torch.no_grad():
            for name, own in self._layers.items():
                weights = self.weights(own)
                if name not in layers and part not in (None, name.split(".")[0]):
                    continue
                if name not in layers:
                    for end in set(self.zero) & set(weights):
                        weights[end].zero_()
                    continue
                for end, tensor in layers[name].tensors(PEFT).items():
                    copy_into(weights[end], _sized(tensor, weights[end]), name)
                if (ratio := layers[name].scale / own.scaling[ADAPTER]) != 1:
                    next(weights[end] for end in self.scaled_by if end in weights).mul_(ratio)

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        for layer in self._layers.values():
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.enable_adapters(True)

    @contextlib.contextmanager
    def scaled(self, multiplier: float) -> Iterator[None]:
        before = {name: layer.scaling[ADAPTER] for name, layer in self._layers.items()}
        for name, layer in self._layers.items():
            layer.scaling[ADAPTER] = before[name] * multiplier
        try:
            yield
        finally:
            for name, layer in self._layers.items():
                layer.scaling[ADAPTER] = before[name]

    def updates(self) -> dict[str, tuple[Any, Update]]:
        """The PEFT layers by name, each with what it does to its weight by now, on the weight's device."""
        found = split(self._canonical(on_cpu=False))
        return {name: (layer, found[_file_path(name)]) for name, layer in self._layers.items()}

    def _canonical(self, on_cpu: bool = True) -> dict[str, Tensor]:
        """As it stands in files."""
        tensors: dict[str, Tensor] = {}
        for name, layer in self._layers.items():
            path = _file_path(name)
            tensors |= {
                f"{path}.{end}": weight.detach().cpu() if on_cpu else weight.detach() for end, weight in self.weights(layer).items()
            }
            if (alpha := self.alpha(layer)) is not None:
                tensors[f"{path}.alpha"] = torch.tensor(alpha, dtype=torch.float32)
        return tensors

    def _denoiser_paths(self, part: str | None) -> list[str]:
        parts = [part] if part else [name for name in self.modules if not name.startswith("text_encoder")]
        return [path.removeprefix(f"{one}.") for one in parts for path in self._layers if path.startswith(f"{one}.")]

    def _named_here(self, layers: Mapping[str, Update], part: str | None) -> dict[str, Update]:
        """Under the names of this network's layers."""
        own = {_file_path(name): name for name in self._layers}
        named: dict[str, Update] = {}
        for path, layer in layers.items():
            head, _, tail = path.partition(".")
            if part and not head.startswith("text_encoder"):
                path = f"{part}.{tail}"
            named[own.get(path, path)] = layer
        return named

    def _check(self, file: str, name: str, layer: Update) -> None:
        if name not in self._layers:
            raise JobError(
                f"{file} has the layer {name}, which this run does not train.",
                "Train the layers that the file has, or start a new run.",
            )
        if layer.kind != self.kind:
            raise JobError(
                f"{file} is a {layer.kind}, this run trains a {self.kind}.", f"Set network.type to {layer.kind}, or start a new run."
            )
        own = self.weights(self._layers[name])
        rank = split({**{f"x.{end}": weight for end, weight in own.items()}})["x"].rank
        if layer.rank != rank:
            raise JobError(
                f"{file} has rank {layer.rank or 'none'}, this run wants {rank or 'none'}.",
                f"Set network.rank to {layer.rank}, or start a new run."
                if layer.rank
                else "Set network.lokr_full_rank to true, or start a new run.",
            )
        if own.keys() != layer.tensors(PEFT).keys():
            raise JobError(f"{file} has other factors than this run.", "Start a new run.")


def _file_path(name: str) -> str:
    """The path that a layer has in files."""
    part, _, path = name.partition(".")
    return f"{part}.{text_path(path)}" if part.startswith("text_encoder") else name


def _sized(tensor: Tensor, like: Tensor) -> Tensor:
    """Some tools write linear layers as convolutions of 1x1, or the other way round."""
    same = tensor.ndim != like.ndim and tensor.squeeze().shape == like.squeeze().shape
    return tensor.reshape(like.shape) if same else tensor


def find_targets(modules: Mapping[str, nn.Module], targets: str | Mapping[str, str]) -> dict[str, bool]:
    """Names of the layers that can carry an adapter and whose name matches → whether it is a convolution larger than 1x1."""
    names = {
        f"{part}.{name}": isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1)
        for part, module in modules.items()
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)  # quantized layers are kinds of nn.Linear
        and not isinstance(layer, BaseTunerLayer)
        and re.fullmatch(targets if isinstance(targets, str) else targets.get(part, "(?!)"), name)
    }
    if not names:
        raise JobError(
            "This model has no layer that its family trains.",
            "Check model.arch: the model may belong to another family.",
        )
    return names
