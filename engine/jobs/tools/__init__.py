"""Jobs that prepare data, and those that make weights out of weights.

A folder of the person is read. It is written to only where the job says so: see ``in_place`` of the captions.
"""

from __future__ import annotations

from ..base import Job
from .captions import CaptionJob
from .controls import ControlsJob
from .edits import EditCaptionsJob
from .masks import MaskJob
from .pictures import FramesJob, ResizeJob, SplitJob
from .weights import EmaJob, ExtractJob

JOBS: tuple[type[Job], ...] = (CaptionJob, EditCaptionsJob, ResizeJob, FramesJob, SplitJob, MaskJob, ControlsJob, EmaJob, ExtractJob)
