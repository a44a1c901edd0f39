"""The report on a data set: what a person should know before training on it. No torch, and nothing is changed.

``report`` asks everything; each kind of question has a module. ``fixes`` mends what can be mended.
"""

from ..files.undo import undo, undo_steps
from .finding import FIXES, Finding, Fix, Kind, Level
from .making import Report, findings, report
from .mending import Change, Mended, mend, mend_copy, plan_fix

__all__ = [
    "FIXES", "Change", "Finding", "Fix", "Kind", "Level", "Mended", "Report", "findings", "mend", "mend_copy", "plan_fix",
    "report", "undo", "undo_steps",
]  # fmt: skip
