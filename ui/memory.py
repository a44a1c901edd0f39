"""What the app remembers for its person: which page was open, which run, what was typed. Losing it loses nothing else."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from engine.runs.atomic import replace_text


class Memory:
    """A small JSON file in the cache. All tabs share it; unreadable, it begins anew."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            values = {}
        self._values: dict[str, Any] = values if isinstance(values, dict) else {}

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def put(self, **values: Any) -> None:
        with self._lock:
            if all(self._values.get(key) == value for key, value in values.items()):
                return
            self._values |= values
            replace_text(self.path, json.dumps(self._values, ensure_ascii=False, indent=1))
