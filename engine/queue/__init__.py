"""The line of runs: one SQLite file that every process shares, threads that work through it, and how to watch a run."""

from ..runs.log import follow
from .runner import Runner
from .store import RunQueue, RunRecord, Status

__all__ = ["RunQueue", "RunRecord", "Runner", "Status", "follow"]
