"""Who drives a run, as a text that another process can check."""

from __future__ import annotations

import os
import platform
import secrets

import psutil


def identity() -> str:
    """Computer, process and its start (an id alone is given again to others), and which runner inside it."""
    return f"{platform.node()}|{os.getpid()}|{psutil.Process().create_time():.2f}|{secrets.token_hex(4)}"


def is_alive(worker: str, fresh: bool) -> bool:
    """Whether that process still runs. Where this cannot be seen, ``fresh`` decides: its last sign of life is recent.

    A process that is known to run needs no sign of life: a computer that slept has killed nobody.
    """
    try:
        node, pid, started, _ = worker.split("|")
        if node != platform.node() or int(pid) == os.getpid():
            return fresh
        process = psutil.Process(int(pid))
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # another start: another process, or a clock that was set since
        return abs(process.create_time() - float(started)) < 2 or fresh
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, ValueError):
        return fresh
