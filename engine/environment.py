"""What must be set before torch, Gradio or the hub's client is imported. ``prepare`` is called first, by every way in."""

from __future__ import annotations

import logging
import os

DEFAULTS = {
    "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads that spin make training 4x slower beside another busy program
    "TOKENIZERS_PARALLELISM": "false",  # it only warns about forks here
    "TRANSFORMERS_VERBOSITY": "error",  # it tells of torchvision, which is left out on purpose
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "error",  # its retries become one sentence of ours
    "GRADIO_ANALYTICS_ENABLED": "False",
    "DO_NOT_TRACK": "1",
}


def prepare() -> None:
    """Sets what the person has not set otherwise."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # on a processor it misses a kernel that nothing here calls
