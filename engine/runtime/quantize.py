"""Frozen weights in few bits: the linear layers of a part, replaced one by one by layers of a library.

One class a library: optimum-quanto (tried with 0.2.7), bitsandbytes (0.50), torchao (0.18, an extra), and ``affine``. What
they have in common is that a LoRA attaches to their layers as to any other linear layer.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import JobError
from ..events import Event, Progress, Warned
from ..families.sources import Quantization
from .affine import AffineLinear

EVERY = 0.5
"""Seconds between two events of progress, at least."""


def quantize(module: nn.Module, plan: Quantization, device: torch.device, part: str, rest: torch.device | None = None) -> Iterator[Event]:
    """Replaces the chosen linear layers of ``module``, whose weights are frozen, by quantized ones, made on ``device``.

    They stay there, or are put to ``rest`` elsewhere: then no more than one is on the device. A layer that fails stays as it is, and a Warned says its name. If none can be quantized, that is a JobError.
    """
    method = method_of(plan.kind)
    layers = choose_layers(module, plan.include, plan.exclude)
    if not plan.low_vram and rest is None:
        module.to(device)
    failed: list[str] = []
    told = time.monotonic()
    for done, (name, layer) in enumerate(layers.items(), 1):
        try:
            with torch.no_grad():
                new = method.quantize(layer.to(device)).requires_grad_(False).to(rest or device)
        except (RuntimeError, ValueError, TypeError, AssertionError, NotImplementedError, AttributeError, ImportError) as error:
            failed.append(name)
            if len(failed) == len(layers):
                raise JobError(
                    f"This computer cannot hold weights as {plan.kind}: {_line(error)}.",
                    "Choose another model.qtype, for example qfloat8 or qint8.",
                ) from error
            yield Warned(
                message=f"The layer {part}.{name} could not be quantized to {plan.kind}: {_line(error)}.",
                hint="It stays as it is and needs more memory.",
            )
        else:
            replace_layer(module, name, new)
        if time.monotonic() - told >= EVERY:
            told = time.monotonic()
            yield Progress(done=done, total=len(layers), what="layers")


def choose_layers(module: nn.Module, include: Sequence[str], exclude: Sequence[str]) -> dict[str, nn.Linear]:
    """The plain linear layers that the patterns leave. A pattern that fits none of them is an error with near names."""
    layers = {name: layer for name, layer in module.named_modules() if type(layer) is nn.Linear}
    for key, patterns in (("include", include), ("exclude", exclude)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in layers):
                raise JobError(
                    f"model.quantize_kwargs.{key}: {pattern!r} fits none of the {len(layers)} linear layers.",
                    _near(pattern, list(layers)),
                )
    kept = {
        name: layer
        for name, layer in layers.items()
        if (not include or any(fnmatchcase(name, pattern) for pattern in include))
        and not any(fnmatchcase(name, pattern) for pattern in exclude)
    }
    if not kept:
        raise JobError("Nothing is left to quantize.", "Loosen model.quantize_kwargs, or set model.quantize to false.")
    return kept


def is_quantized(layer: nn.Module) -> bool:
    """Whether the layer's weight is held in few bits, so that nothing can be added to it."""
    return isinstance(layer, AffineLinear) or any(
        type(kind).__module__.startswith(("optimum.", "bitsandbytes.", "torchao.")) for kind in (layer, getattr(layer, "weight", None))
    )


def replace_layer(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, new.train(module.training))


class Method(ABC):
    """How one library holds the weights of a linear layer, and how they are kept in a file."""

    def __init__(self, kind: str):
        self.kind = kind

    @abstractmethod
    def quantize(self, layer: nn.Linear) -> nn.Module:
        """The layer with a quantized weight, on the device that ``layer`` is on."""

    @abstractmethod
    def restore(self, layer: nn.Linear, tensors: Mapping[str, Tensor]) -> nn.Module:
        """The layer that ``tensors`` were taken from; ``layer`` gives its sizes, and may have no memory."""

    def tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        """All that ``restore`` needs, by name."""
        return layer.state_dict()


class Quanto(Method):
    """optimum-quanto: 8-bit floats and integers a row, 4- and 2-bit integers a group of a row."""

    def __init__(self, kind: str):
        super().__init__(kind)
        # it would compile kernels of its own at the first use, which takes a compiler that few people have, and minutes;
        # without them it computes with torch's
        for extension in ("cpp", "cuda", "hip", "mps"):
            name = f"optimum.quanto.library.extensions.{extension}"
            sys.modules.setdefault(name, ModuleType(name))
        self.nn = _import("optimum.quanto.nn", "optimum-quanto", kind)
        self.kind_of = importlib.import_module("optimum.quanto").qtypes[kind]

    def quantize(self, layer: nn.Linear) -> nn.Module:
        new = self.nn.QLinear.from_module(layer, weights=self.kind_of)
        new.freeze()
        return new

    def restore(self, layer: nn.Linear, tensors: Mapping[str, Tensor]) -> nn.Module:
        new = self.nn.QLinear.qcreate(layer, weights=self.kind_of, device="meta")
        new.load_state_dict(dict(tensors), strict=False, assign=True)  # it has the weight's tensors under other names
        return new


class Bits4(Method):
    """bitsandbytes: 4 bits and a scale for 64 of them, whose scales are quantized as well."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.nn = _import("bitsandbytes", "bitsandbytes", kind).nn

    def quantize(self, layer: nn.Linear) -> nn.Module:
        new = self._empty(layer, layer.weight.dtype)
        options = {"quant_type": self.kind, "compress_statistics": True, "quant_storage": layer.weight.dtype, "module": new}
        new.weight = self.nn.Params4bit(layer.weight.data, requires_grad=False, **options)._quantize(layer.weight.device)
        new.bias = layer.bias
        return new

    def restore(self, layer: nn.Linear, tensors: Mapping[str, Tensor]) -> nn.Module:
        new = self._empty(layer, tensors["weight"].dtype)
        state = {name.removeprefix("weight."): tensor for name, tensor in tensors.items() if name.startswith("weight.")}
        new.weight = self.nn.Params4bit.from_prequantized(tensors["weight"], state, device=tensors["weight"].device, module=new)
        new.bias = None if layer.bias is None else nn.Parameter(tensors["bias"], requires_grad=False)
        return new

    def _empty(self, layer: nn.Linear, dtype: torch.dtype) -> Any:
        # stored under the precision of the layer: models look at the weight's dtype, and convert to it
        new = self.nn.Linear4bit(
            layer.in_features, layer.out_features, layer.bias is not None, dtype, True, self.kind, dtype, device="meta"
        )
        new.support_avx512bf16_for_cpu = False  # it would repack the weights when pictures are drawn, and not exactly
        return new


class Bits8(Method):
    """bitsandbytes: 8-bit integers and a scale for each row. The inputs are quantized too."""

    def __init__(self, kind: str):
        super().__init__(kind)
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of each layer that inputs become fp16
        self.nn = _import("bitsandbytes", "bitsandbytes", kind).nn

    def quantize(self, layer: nn.Linear) -> nn.Module:
        new = self._empty(layer)
        new.weight = self.nn.Int8Params(layer.weight.data, requires_grad=False)._quantize(layer.weight.device)
        new.bias = layer.bias
        return new

    def restore(self, layer: nn.Linear, tensors: Mapping[str, Tensor]) -> nn.Module:
        new = self._empty(layer)
        weight, scale = tensors["weight"], tensors["SCB"]
        new.weight = self.nn.Int8Params(weight, requires_grad=False, CB=weight, SCB=scale)
        new.bias = None if layer.bias is None else nn.Parameter(tensors["bias"], requires_grad=False)
        return new

    def _empty(self, layer: nn.Linear) -> Any:
        return self.nn.Linear8bitLt(layer.in_features, layer.out_features, layer.bias is not None, has_fp16_weights=False, device="meta")


class Ao(Method):
    """torchao: 8-bit floats and a scale for each row. The layer stays the same; its weight is of another kind."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.library = _import("torchao.quantization", "torchao", kind)

    def quantize(self, layer: nn.Linear) -> nn.Module:
        self.library.quantize_(layer, self.library.Float8WeightOnlyConfig())
        return layer

    def tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        weight: Any = layer.weight
        names, _ = weight.__tensor_flatten__()
        bias = {} if layer.bias is None else {"bias": layer.bias.detach()}
        return {f"weight.{name}": getattr(weight, name) for name in names} | bias | {"like": torch.empty(0, dtype=weight.dtype)}

    def restore(self, layer: nn.Linear, tensors: Mapping[str, Tensor]) -> nn.Module:
        # what a weight says besides its tensors is the same for all of them, but for its width and precision
        pattern: Any = self.quantize(nn.Linear(16, 16, bias=False, dtype=tensors["like"].dtype)).weight
        names, facts = pattern.__tensor_flatten__()
        inner = {name: tensors[f"weight.{name}"] for name in names}
        shape = (layer.out_features, layer.in_features)
        facts = {**facts, "block_size": [1, layer.in_features]}
        weight = type(pattern).__tensor_unflatten__(inner, facts, shape, (layer.in_features, 1))
        new = nn.Linear(*shape[::-1], bias=layer.bias is not None, device="meta")
        new.weight = nn.Parameter(weight, requires_grad=False)
        new.bias = None if layer.bias is None else nn.Parameter(tensors["bias"], requires_grad=False)
        return new


class Affine(Method):
    """Our own, in the numbers of an older torchao: 2 to 7 bits, and a step and a zero for 64 of them."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.bits = int(kind.removeprefix("uint"))

    def quantize(self, layer: nn.Linear) -> nn.Module:
        return AffineLinear.of(layer, self.bits)

    def restore(self, layer: nn.Linear, tensors: Mapping[str, Tensor]) -> nn.Module:
        return AffineLinear(self.bits, layer.in_features, **tensors)


METHODS: dict[str, type[Method]] = {
    **dict.fromkeys(("qfloat8", "qint8", "qint4", "qint2"), Quanto),
    **dict.fromkeys(("nf4", "fp4"), Bits4),
    "int8": Bits8,
    "float8": Ao,
    **dict.fromkeys((f"uint{bits}" for bits in range(2, 8)), Affine),
}


def method_of(kind: str) -> Method:
    """The library behind the name of a kind; a JobError if it is not installed."""
    return METHODS[kind](kind)


def _import(module: str, package: str, kind: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        raise JobError(
            f"{kind} needs the package {package}, which cannot be loaded: {_line(error)}.",
            f"Install {package} into Darkroom's environment, or choose qfloat8.",
        ) from error


def _line(error: Exception) -> str:
    """The first line of an error, without its end."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _near(pattern: str, names: list[str]) -> str:
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
    return (
        f"Near ones are {', '.join(near)}; * stands for any letters." if near else f"Names look like {names[0]}; * stands for any letters."
    )
