"""What a training would end with in its first seconds is said by the check, by the plan and where it is started, and no torch is loaded for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.check import check_job
from engine.errors import JobError
from engine.jobs import TrainJob, dump_job, load_job
from engine.queue.runner import Runner

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def job_of(pictures, base, tmp_path):
    """A job on the tiny FLUX, or on a model of the hub that is never asked for."""

    def make(**sections: Any) -> TrainJob:
        data: dict[str, Any] = {
            "name": "x",
            "trigger_word": "zzz",
            "model": {"name_or_path": str(base)},
            "datasets": [{"path": str(pictures)}],
            "train": {"optimizer": "adamw"},
        }
        return load_job(data | sections)

    return make


def problems(job: TrainJob) -> str:
    return " ".join(finding.message for finding in check_job(job) if not finding.ok)


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"adapter": {"type": "control_net"}}, "follows 1 control picture with each picture, and datasets[0] names none"),
    ({"adapter": {"type": "t2i"}, "datasets": "self"}, "no adapter of the type t2i for"),
    ({"embedding": {"trigger": "zqcat"}, "network": {"type": "full"}}, "embedding does not go together with network.type full"),
    ({"network": {"type": "none"}}, "Nothing is trained"),
    ({"slider": {"target_class": "a", "positive_prompt": "b"}, "pair_slider": {}}, "both pair_slider and slider"),
    ({"slider": {"target_class": "a", "positive_prompt": "b"}, "replacements": [{"concept": "a", "replacement": "b"}]}, "both slider and replacements"),
    ({"train": {"optimizer": "prodigy", "lr": 1, "loraplus_lr_ratio": 16}}, "finds one rate for all weights"),
    ({"train": {"optimizer": "schedule-free", "ema_config": {"use_ema": True}}}, "averages the weights by itself"),
    ({"train": {"min_snr_gamma": 5}}, "are for models that learnt to denoise"),
    ({"train": {"train_text_encoder": True}}, "cannot be trained with a lora"),
    ({"train": {"min_denoising_steps": 500, "max_denoising_steps": 400}}, "min_denoising_steps is not below"),
    ({"train": {"diff_output_preservation": True}}, "diff_output_preservation_class is missing"),
    ({"train": {"merge_network_on_save": True}, "network": {"type": "dora"}}, "is for a LoRA, LoKr, LoHa or OFT alone"),
    ({"save": {"push_to_hub": True}}, "needs to know where to upload"),
]  # fmt: skip


@pytest.mark.parametrize("sections, told", CONTRADICTIONS)
def test_sections_that_contradict_each_other_are_told_before_anything_is_loaded(job_of, pictures, tmp_path, sections, told):
    if sections.get("datasets") == "self":
        sections = sections | {"datasets": [{"path": str(pictures), "control_path": str(pictures)}]}
    job = job_of(**sections)
    assert told in problems(job)
    with Runner_of(tmp_path) as runner, pytest.raises(JobError) as refused:
        runner.submit(job)
    assert told in refused.value.message and refused.value.hint
    assert not list((tmp_path / "out").iterdir())  # nothing of it is left


class Runner_of:
    """A runner that is closed in the end."""

    def __init__(self, folder: Path):
        (folder / "out").mkdir()
        self.runner = Runner(folder / "out", folder / "runs.db")

    def __enter__(self) -> Runner:
        return self.runner

    def __exit__(self, *_: object) -> None:
        self.runner.close()


def test_what_the_data_lacks_is_told_of_pictures_that_were_looked_at(job_of, pictures, tmp_path):
    controlled = {"path": str(pictures), "control_path": str(pictures)}
    assert "has 1 reference picture for each picture; " in problems(job_of(datasets=[controlled]))
    assert "has 2 reference pictures" in problems(job_of(datasets=[controlled | {"controls": ["canny"]}]))
    assert not problems(job_of(datasets=[controlled], adapter={"type": "control_net"}))
    assert not problems(
        job_of(datasets=[{"path": str(pictures)}, controlled], pair_slider=None, adapter={"type": "redux", "image_encoder_path": "a/b"})
    )
    assert "the data has 0 reference pictures or 1 reference picture with each" in problems(
        job_of(datasets=[{"path": str(pictures)}, controlled], pair_slider={})
    )
    words = {"replacements": [{"concept": "zebra", "replacement": "horse"}]}
    assert "No caption has any of the words in replacements" in problems(job_of(**words))
    assert "No caption has the word zqcat" in problems(job_of(embedding={"trigger": "zqcat"}, trigger_word="zzz"))
    wants_pairs = {"name_or_path": "Qwen/Qwen-Image-Edit"}
    assert "learns from pairs, and the data has no reference pictures" in problems(job_of(model=wants_pairs))


def test_a_slider_needs_no_captions_there_either(job_of, tmp_path):
    (tmp_path / "bare").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "bare" / "1.png")
    bare = [{"path": str(tmp_path / "bare")}]
    assert "caption" in problems(job_of(datasets=bare))
    assert not problems(job_of(datasets=bare, slider={"target_class": "a", "positive_prompt": "b"}))
    pairs = [bare[0] | {"control_path": str(tmp_path / "bare")}]
    assert not problems(job_of(datasets=pairs, pair_slider={"target_class": "a face"}))
    assert "caption" in problems(job_of(datasets=pairs, pair_slider={}))


def test_what_has_no_effect_is_told_too(job_of):
    job = job_of(train={"optimizer": "adamw", "text_encoder_lr": 1e-4})
    [note] = [finding for finding in check_job(job) if "text_encoder_lr has no effect" in finding.message]
    assert note.ok


def test_it_takes_no_torch(job_of, tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text(dump_job(job_of(adapter={"type": "control_net"})))
    script = (
        "import sys; from pathlib import Path; from engine.check import check_job; from engine.jobs import load_job; from engine.queue.runner import Runner\n"
        "job = load_job(Path(sys.argv[1])); print([one.message for one in check_job(job) if not one.ok])\n"
        "try: Runner(Path(sys.argv[2]), Path(sys.argv[3])).submit(job)\nexcept Exception as error: print(error)\n"
        "print([name for name in ('torch', 'diffusers', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, file, tmp_path, tmp_path / "runs.db"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("follows 1 control picture") == 2 and done.stdout.endswith("[]\n"), done.stdout + done.stderr
