"""Several networks that learn as one: an adapter and a new word, for example."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..jobs import Dtype
from .base import Network
from .formats import Form


class Together(Network):
    """All of them, in their order. The first has the file that is asked for; those of the others lie beside it, under their titles."""

    is_adapter = True

    def __init__(self, networks: Sequence[Network]):
        self.networks = list(networks)
        self.idle = [key for network in networks for key in network.idle]
        self.beside = [module for network in networks for module in network.beside]
        super().__init__({name: weight for network in networks for name, weight in network.named_parameters()})

    def save(self, path: Path, metadata: Mapping[str, str], dtype: Dtype, form: Form, part: str | None = None) -> None:
        for network, file in self._files(path):
            network.save(file, metadata, dtype, form, part)

    def load(self, path: Path, part: str | None = None) -> None:
        """Files that are not there leave their networks as they are."""
        for network, file in self._files(path):
            if network is self.networks[0] or file.is_file():
                network.load(file, part)

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for network in self.networks:
                stack.enter_context(network.disabled())
            yield

    @contextlib.contextmanager
    def scaled(self, multiplier: float) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for network in self.networks:
                stack.enter_context(network.scaled(multiplier))
            yield

    def _files(self, path: Path) -> Iterator[tuple[Network, Path]]:
        for index, network in enumerate(self.networks):
            yield network, path.with_stem(f"{path.stem}_{network.title}") if index else path
