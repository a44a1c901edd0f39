"""Several checkpoints as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from drive import done, failure, run
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine.events import Saved
from engine.jobs import load_job
from engine.jobs.tools.weights import EmaJob
from engine.runs.folder import RunFolder
from engine.tools.average import exponent, profile

STEPS = [250, 500, 750, 1000]
NAME = "transformer.blocks.0.to_q.lora_A.weight"


def write(path: Path, value: float, step: int, dtype=torch.float32, alpha: float = 2.0, name: str = NAME) -> Path:
    tensors = {name: torch.full((2, 3), value, dtype=dtype), name.replace("lora_A.weight", "alpha"): torch.tensor(alpha)}
    save_file(tensors, path, {"ss_steps": str(step), "modelspec.title": "mine"})
    return path


@pytest.fixture
def trained(tmp_path) -> Path:
    """The folder of a run with four checkpoints that hold 1, 2, 3 and 4."""
    job = load_job({"kind": "train", "name": "mine", "model": {"name_or_path": "m"}, "datasets": [{"path": "d"}]})
    folder = RunFolder.create(tmp_path, job)
    for number, step in enumerate(STEPS[:-1], 1):
        write(folder.checkpoint_path(step), number, step)
    write(folder.final_path, 4, 1000)
    folder.append(Saved(step=1000, path=Path("mine.safetensors"), final=True))
    return folder.path


def value(root: Path) -> float:
    tensor = load_file(root / "run" / "run.safetensors")[NAME]
    assert (tensor == tensor[0, 0]).all()
    return tensor[0, 0].item()


def job(**keys) -> EmaJob:
    return EmaJob(name="x", paths=["p"], **keys)


def test_the_mean_of_a_run_is_the_mean_of_its_weights_and_alpha_stays(trained, tmp_path):
    before = {path.name: path.read_bytes() for path in trained.glob("*.safetensors")}
    events = done(run(tmp_path, kind="ema", paths=[str(trained)], profile="mean"))
    assert value(tmp_path) == 2.5
    assert load_file(tmp_path / "run" / "run.safetensors")[NAME.replace("lora_A.weight", "alpha")] == 2
    assert next(event for event in events if isinstance(event, Saved)).path == Path("run.safetensors")
    with safe_open(tmp_path / "run" / "run.safetensors", "pt") as file:
        texts = file.metadata()
    assert texts["ss_steps"] == "1000" and texts["modelspec.merged_from"].count("mine") == 4
    assert before == {path.name: path.read_bytes() for path in trained.glob("*.safetensors")}


def test_weights_that_are_given_count_instead_of_a_profile(trained, tmp_path):
    done(run(tmp_path, kind="ema", paths=[str(trained)], weights=[0, 1, 0, 3]))
    assert value(tmp_path) == pytest.approx((2 + 3 * 4) / 4)
    assert "2 weights" in failure(run(tmp_path, kind="ema", paths=[str(trained)], weights=[1, 2]))


def test_checkpoints_outside_of_the_steps_are_left_out(trained, tmp_path):
    done(run(tmp_path, kind="ema", paths=[str(trained)], profile="mean", start_step=400, end_step=800))
    assert value(tmp_path) == 2.5
    assert "1 checkpoint to average" in failure(run(tmp_path, kind="ema", paths=[str(trained)], start_step=900))


def test_single_files_are_put_in_the_order_of_their_steps(trained, tmp_path):
    paths = [str(trained / name) for name in ("mine.safetensors", "mine_000000250.safetensors")]
    done(run(tmp_path, kind="ema", paths=paths, weights=[1, 0]))
    assert value(tmp_path) == 1


def test_a_decay_counts_each_step_back_and_sums_over_those_between_checkpoints():
    decay = 0.997
    each = [decay ** (1000 - step) for step in range(1, 1001)]
    expected = [sum(each[start : start + 250]) / sum(each) for start in range(0, 1000, 250)]
    assert profile(job(profile="ema", ema_decay=decay), STEPS) == pytest.approx(expected, rel=1e-6)


def test_a_power_profile_has_the_spread_that_is_asked_for():
    for sigma in (0.05, 0.1, 0.25):
        steps = list(range(1, 2001))
        shares = profile(job(sigma_rel=sigma), steps)
        mean = sum(share * step for share, step in zip(shares, steps, strict=True)) / 2000
        spread = sum(share * (step / 2000 - mean) ** 2 for share, step in zip(shares, steps, strict=True)) ** 0.5
        assert spread == pytest.approx(sigma, rel=0.02) and sum(shares) == pytest.approx(1)
    assert exponent(0.1) == pytest.approx(6.94, abs=0.01)  # the paper's pair


def test_the_first_that_is_left_stands_for_as_many_steps_as_the_second():
    assert profile(job(profile="ema", ema_decay=1 - 1e-9), [800, 900, 1000]) == pytest.approx([1 / 3] * 3, rel=1e-4)


def test_equal_weights_average_to_their_own_bits(tmp_path):
    tensor = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for step in (10, 20, 30):
            save_file({NAME: tensor.to(dtype)}, tmp_path / f"a_{step:09d}.safetensors")
        done(run(tmp_path, kind="ema", paths=[str(path) for path in tmp_path.glob("a_*.safetensors")]))
        result = load_file(tmp_path / "run" / "run.safetensors")[NAME]
        assert result.dtype == dtype and torch.equal(result, tensor.to(dtype))


def test_both_experts_of_a_model_are_averaged_each_by_itself(tmp_path):
    for number, step in enumerate((10, 20), 1):
        write(tmp_path / f"a_{step:09d}_high_noise.safetensors", number, step)
        write(tmp_path / f"a_{step:09d}_low_noise.safetensors", number * 10, step)
    done(run(tmp_path, kind="ema", paths=[str(path) for path in sorted(tmp_path.glob("a_*"))], profile="mean"))
    found = {path.name: load_file(path)[NAME][0, 0].item() for path in (tmp_path / "run").glob("*.safetensors")}
    assert found == {"run_high_noise.safetensors": 1.5, "run_low_noise.safetensors": 15.0}


def test_whole_models_are_averaged_file_by_file_and_keep_what_lies_beside(tmp_path):
    for number, step in enumerate((10, 20), 1):
        part = tmp_path / f"a_{step:09d}" / "transformer"
        part.mkdir(parents=True)
        (part / "config.json").write_text(json.dumps({"layers": 1}))
        write(part / "model.safetensors", number, step)
    done(run(tmp_path, kind="ema", paths=[str(tmp_path / "a_000000010"), str(tmp_path / "a_000000020")], profile="mean"))
    made = tmp_path / "run" / "run" / "transformer"
    assert load_file(made / "model.safetensors")[NAME][0, 0] == 1.5 and json.loads((made / "config.json").read_text()) == {"layers": 1}


@pytest.mark.parametrize(
    "other, words",
    [
        ({"alpha": 4.0}, "has another"),
        ({"name": "transformer.x.lora_A.weight"}, "is of another run"),
        ({"step": 250}, "of the same step"),
    ],
)
def test_what_does_not_belong_together_is_refused_and_nothing_is_written(tmp_path, other, words):
    one = write(tmp_path / "one.safetensors", 1, 250)
    two = write(tmp_path / "two.safetensors", **{"value": 2, "step": 500, **other})
    assert words in failure(run(tmp_path, kind="ema", paths=[str(one), str(two)]))
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_a_file_that_is_damaged_or_says_no_step_is_refused_in_a_sentence(tmp_path):
    one, two = write(tmp_path / "one.safetensors", 1, 250), write(tmp_path / "two.safetensors", 2, 500)
    two.write_bytes(two.read_bytes()[:-4])
    assert "cut short" in failure(run(tmp_path, kind="ema", paths=[str(one), str(two)]))
    save_file({NAME: torch.zeros(1)}, two)
    assert "does not say which step" in failure(run(tmp_path, kind="ema", paths=[str(one), str(two)]))
    assert "There is no" in failure(run(tmp_path, kind="ema", paths=[str(tmp_path / "gone")]))
