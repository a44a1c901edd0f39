"""That a slider from words alone really slides: on the starter, in numbers."""

from __future__ import annotations

import numpy as np
from PIL import Image

from engine.jobs import load_job
from engine.settings import ROOT

EXAMPLES = ROOT / "assets" / "examples" / "car"


def test_a_heart_is_blue_at_minus_1_and_red_at_1(run, tmp_path):
    """Red less blue of the samples, in levels of 255; of a 3d heart too, which the slider was not asked about."""
    prompts = ("a flat emoji of heart", "a 3d emoji of heart")
    job = load_job({
        "name": "heart", "model": {"name_or_path": str(ROOT / "assets" / "starter")}, "network": {"type": "lora", "rank": 8},
        "datasets": [{"path": str(EXAMPLES), "resolution": 64}],
        "slider": {"target_class": prompts[0], "positive_prompt": "a flat emoji of red heart", "negative_prompt": "a flat emoji of blue heart"},
        "train": {"steps": 10, "lr": 6e-3, "batch_size": 2, "optimizer": "adamw", "timestep_type": "shift", "gradient_checkpointing": False},
        "sample": {
            "sample_every": 10, "skip_first_sample": True, "walk_seed": False, "sample_steps": 4, "guidance_scale": 1, "format": "png",
            "samples": [{"prompt": prompt, "network_multiplier": strength} for prompt in prompts for strength in (-1, 0, 1)],
        },
        "save": {"save_every": None},
    })  # fmt: skip
    drawn = [tmp_path / "out" / "heart" / event.path for event in run(job) if event.kind == "sampled"]
    shades = [np.asarray(Image.open(path), float).reshape(-1, 3).mean(0) for path in drawn]
    for first in (0, 3):
        back, still, forth = (float(shade[0] - shade[2]) for shade in shades[first : first + 3])
        assert back + 15 < still < forth - 15, (back, still, forth)
