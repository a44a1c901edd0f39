"""How like samples are to held-out pictures and to their prompts, by tiny models of the real classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers as t
from PIL import Image
from tiny.lookers import byte_tokenizer, save
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from engine.runs.metrics import read_metrics
from engine.tools.pretrained import read_images, read_tokenizer

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    reader = byte_tokenizer(
        ["<|pad|>", "<|startoftext|>", "<|endoftext|>"], pad_token="<|pad|>", bos_token="<|startoftext|>", eos_token="<|endoftext|>"
    )
    text = {
        **SIZE,
        "intermediate_size": 16,
        "vocab_size": len(reader),
        "max_position_embeddings": 16,
        "eos_token_id": 2,
        "bos_token_id": 1,
        "pad_token_id": 0,
    }
    vision = {**SIZE, "intermediate_size": 16, "image_size": 32, "patch_size": 8}
    model = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    with torch.no_grad():
        model.vision_model.embeddings.patch_embedding.weight.mul_(20)
    small = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    return save(tmp_path_factory.mktemp("clip"), model, reader, CLIPImageProcessorPil(**small))


@pytest.fixture(scope="module")
def dino(tmp_path_factory) -> Path:
    torch.manual_seed(1)
    model = t.Dinov2Model(t.Dinov2Config(**SIZE, mlp_ratio=1, image_size=32, patch_size=8))
    with torch.no_grad():
        model.embeddings.patch_embeddings.projection.weight.mul_(20)
    return save(
        tmp_path_factory.mktemp("dino"), model, BitImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    )


def scores(events) -> dict[tuple[int, str], float]:
    return {(event.step, event.name): event.value for event in events if event.kind == "measured" and event.name != "validation loss"}


def length_one(features: torch.Tensor) -> torch.Tensor:
    return features / features.norm(dim=1, keepdim=True)


PROMPTS = ["[trigger] at dawn", "a field"]


def test_each_round_of_samples_is_compared_with_held_out_pictures_and_its_prompts(make_job, run, tmp_path, clip, dino, pictures):
    validation = {
        "every": 100,
        "items": [{"image_path": str(pictures / f"{i}.png"), "prompt": "x"} for i in (0, 5)],
        "clip_model": str(clip),
        "dino_model": str(dino),
    }
    job = make_job(validation=validation, sample={"sample_every": 2, "prompts": PROMPTS, "format": "png"}, train__steps=3)
    events = run(job)
    found = scores(events)
    assert len([event for event in events if event.kind == "measured" and event.name != "validation loss"]) == 9  # one of each a round
    assert {step for step, _ in found} == {0, 2, 3} and {name for _, name in found} == {"CLIP-I", "CLIP-T", "DINO"}

    held = [Image.open(pictures / f"{i}.png").convert("RGB") for i in (0, 5)]
    with torch.no_grad():
        for step in (0, 3):
            shown = [Image.open(path).convert("RGB") for path in sorted((tmp_path / "out/tiny/samples").glob(f"{step:09d}_*.png"))]
            model, see, read = t.CLIPModel.from_pretrained(clip), read_images(clip), read_tokenizer(clip)
            theirs, own = (length_one(model.get_image_features(**see(some, return_tensors="pt")).pooler_output) for some in (held, shown))
            assert len(own) == 2 and found[step, "CLIP-I"] == pytest.approx(float((own @ theirs.T).mean()), abs=1e-5)
            said = [
                length_one(model.get_text_features(**read(text, return_tensors="pt", truncation=True, max_length=16)).pooler_output)[0]
                for text in ("zzz at dawn", "a field")
            ]
            assert found[step, "CLIP-T"] == pytest.approx(sum(float(a @ b) for a, b in zip(own, said, strict=True)) / 2, abs=1e-5)
            model, see = t.Dinov2Model.from_pretrained(dino), read_images(dino)
            theirs, own = (length_one(model(**see(some, return_tensors="pt")).last_hidden_state[:, 0]) for some in (held, shown))
            assert found[step, "DINO"] == pytest.approx(float((own @ theirs.T).mean()), abs=1e-5)
    rows = read_metrics(tmp_path / "out/tiny/metrics.csv")
    assert {int(row["step"]): float(row["dino"]) for row in rows if row["dino"]} == {
        step: value for (step, name), value in found.items() if name == "DINO"
    }


def test_a_run_ends_in_the_same_bytes_whether_it_is_compared_or_not(make_job, run, tmp_path, dino, pictures):
    validation = {"every": 2, "items": [{"image_path": str(pictures / "0.png"), "prompt": "x"}]}
    run(make_job(validation=validation), "plain")
    run(make_job(validation={**validation, "dino_model": str(dino)}), "compared")
    files = [(tmp_path / root / "tiny" / "tiny.safetensors").read_bytes() for root in ("plain", "compared")]
    assert files[0] == files[1]


def test_a_model_that_cannot_be_used_is_told_before_anything_is_loaded(make_job, run, tmp_path, dino, clip):
    def failed(**validation):
        events = run(make_job(validation={"every": 2, **validation}))
        assert events[-1].kind == "failed" and not [event for event in events if event.kind == "step"]
        return events[-1].message, len(events)

    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text("{}")
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    message, count = failed(clip_model=str(tmp_path / "pickled"))
    assert "validation.clip_model" in message and "no .safetensors file" in message and count == 2
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"x")
    message, count = failed(clip_model=str(tmp_path / "vae"))
    assert "validation.clip_model" in message and "no model of a kind" in message and count == 2
    assert "Dinov2Model does not compare pictures with texts" in failed(clip_model=str(dino))[0]


def test_without_samples_there_is_nothing_to_compare(make_job, run, dino):
    events = run(make_job(validation={"every": 2, "dino_model": str(dino)}, sample__sample_every=None))
    assert "there are no samples to compare" in next(event.message for event in events if event.kind == "warned")
    assert not scores(events) and events[-1].kind == "finished"
