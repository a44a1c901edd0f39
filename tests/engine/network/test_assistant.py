"""LoRAs that go with the base model: what they add, when they act, and what does not fit."""

from __future__ import annotations

import shutil

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from engine.errors import JobError
from engine.families.flux import Flux
from engine.jobs import Lora, ModelSection
from engine.network.attach import attach
from engine.network.companions import Companions
from engine.runtime.loading import load_parts, open_family
from engine.runtime.places import fetch_lora

CPU = torch.device("cpu")


def opened(base, **settings):
    family = open_family(ModelSection(name_or_path=str(base), **settings), torch.float32)
    list(load_parts(family, ("transformer",), CPU, torch.float32))
    return family


def answer(family) -> torch.Tensor:
    torch.manual_seed(3)
    cond = {"prompt_embeds": torch.randn(1, 5, 32), "pooled_prompt_embeds": torch.randn(1, 32)}
    return family.predict(torch.randn(1, 1, 16, 24), torch.tensor([0.5]), cond)


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    """A file with an update of every layer that FLUX trains."""
    denoiser = tiny.flux().transformer
    network = attach(Lora(rank=4, alpha=2), {"transformer": denoiser}, Flux.lora_targets, seed=5, family="flux")
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    path = tmp_path_factory.mktemp("lora") / "assistant.safetensors"
    network.save(path, {}, "fp32", "comfyui")
    network.save(path.with_name("plain.safetensors"), {}, "fp32", "diffusers")
    return path


def by_hand(family, lora):
    """The family with the update added to its weights, from the file that has diffusers' names and no scale."""
    tensors = load_file(lora.with_name("plain.safetensors"))
    with torch.no_grad():
        for name in tensors:
            if name.endswith("lora_A.weight"):
                path = name.removeprefix("transformer.").removesuffix(".lora_A.weight")
                family.denoiser.get_submodule(path).weight += tensors[name.replace("lora_A", "lora_B")] @ tensors[name]
    return family


def companions(family, base, **settings):
    return Companions(family, ModelSection(name_or_path=str(base), **settings))


@torch.no_grad()
def test_an_assistant_is_the_update_while_training_and_nothing_in_samples(base, lora):
    family = opened(base)
    plain, expected = answer(family), answer(by_hand(opened(base), lora))
    ours = companions(family, base, assistant_lora_path=str(lora))
    torch.testing.assert_close(answer(family), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain, expected, atol=1e-2)
    with ours.sampling():
        assert torch.equal(answer(family), plain)
    torch.testing.assert_close(answer(family), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_inference_lora_is_the_other_way_round_and_both_can_be_there(base, lora):
    family = opened(base)
    plain, expected = answer(family), answer(by_hand(opened(base), lora))
    ours = companions(family, base, inference_lora_path=str(lora))
    assert torch.equal(answer(family), plain)
    with ours.sampling():
        torch.testing.assert_close(answer(family), expected, rtol=1e-4, atol=1e-5)
    both = opened(base)
    ours = companions(both, base, inference_lora_path=str(lora), assistant_lora_path=str(lora))
    torch.testing.assert_close(answer(both), expected, rtol=1e-4, atol=1e-5)
    with ours.sampling():
        torch.testing.assert_close(answer(both), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_fused_lora_is_in_the_weights(base, lora):
    expected = by_hand(opened(base), lora)
    fused = opened(base, lora_path=str(lora))
    for name, weight in fused.denoiser.state_dict().items():
        torch.testing.assert_close(weight, expected.denoiser.state_dict()[name], msg=name)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["qint8", "nf4"])
def test_on_quantized_weights_they_are_beside_them_or_added_before(base, lora, kind):
    family = opened(base, quantize=True, qtype=kind)
    plain = answer(family)
    ours = companions(family, base, assistant_lora_path=str(lora))
    close = torch.cosine_similarity(answer(family).flatten(), answer(by_hand(opened(base), lora)).flatten(), 0)
    assert close > 0.95 and not torch.allclose(answer(family), plain, atol=1e-2)
    with ours.sampling():
        assert torch.equal(answer(family), plain)
    fused = opened(base, quantize=True, qtype=kind, lora_path=str(lora))
    close = torch.cosine_similarity(answer(fused).flatten(), answer(by_hand(opened(base), lora)).flatten(), 0)
    assert close > 0.95
    again = opened(base, quantize=True, qtype=kind, lora_path=str(lora))
    assert torch.equal(answer(again), answer(fused)), "the cache has the weights with the LoRA"
    assert torch.equal(answer(opened(base, quantize=True, qtype=kind)), plain), "and those without it under another name"


def test_what_is_trained_learns_on_top_of_the_assistant(base, lora):
    family = opened(base)
    companions(family, base, assistant_lora_path=str(lora))
    network = attach(Lora(rank=4), {"transformer": family.denoiser}, family.lora_targets, family="flux")
    with torch.no_grad():
        expected = answer(by_hand(opened(base), lora))
        torch.testing.assert_close(answer(family), expected, rtol=1e-4, atol=1e-5)
    answer(family).square().mean().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    assert len(network.parameters()) == 2 * 17, "the assistant is not trained"


def test_a_lora_of_the_text_encoders_is_fused_too(base, tmp_path):
    path = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    tensors = {f"{path}.lora_A.weight": torch.ones(1, 32), f"{path}.lora_B.weight": torch.ones(32, 1)}
    for name in ("lora_A", "lora_B"):
        tensors[f"transformer.proj_out.{name}.weight"] = torch.ones((1, 32) if name == "lora_A" else (4, 1))
    save_file(tensors, tmp_path / "both.safetensors")
    texts = []
    for settings in ({}, {"lora_path": str(tmp_path / "both.safetensors")}):
        family = open_family(ModelSection(name_or_path=str(base), **settings), torch.float32)
        list(load_parts(family, ("text_encoder", "text_encoder_2"), CPU, torch.float32))
        texts += [w for name, w in family.pipe.text_encoder.named_parameters() if name.endswith("layers.0.self_attn.q_proj.weight")]
    torch.testing.assert_close(texts[1], texts[0] + 1)


def test_a_file_of_another_model_is_refused(tmp_path, lora, base):
    path = "transformer.transformer_blocks.7.attn.to_q"
    save_file({f"{path}.lora_A.weight": torch.ones(1, 32), f"{path}.lora_B.weight": torch.ones(32, 1)}, tmp_path / "deep.safetensors")
    with pytest.raises(JobError, match="has the layer transformer_blocks.7"):
        companions(opened(base), base, assistant_lora_path=str(tmp_path / "deep.safetensors"))
    with pytest.raises(JobError, match="has the layer transformer_blocks.7"):
        opened(base, lora_path=str(tmp_path / "deep.safetensors"))


def test_a_file_a_folder_with_one_and_a_hub_id_name_a_lora(tmp_path, lora, home):
    assert fetch_lora(str(lora), "model.lora_path") == lora
    with pytest.raises(JobError, match="has 2 .safetensors files"):
        fetch_lora(str(lora.parent), "model.lora_path")
    (tmp_path / "one").mkdir()
    shutil.copy(lora, tmp_path / "one" / "x.safetensors")
    assert fetch_lora(str(tmp_path / "one"), "model.lora_path").name == "x.safetensors"
    (tmp_path / "none").mkdir()
    with pytest.raises(JobError, match="has no .safetensors file"):
        fetch_lora(str(tmp_path / "none"), "model.lora_path")
    for name in ("some/adapter", "some/adapter/v2.safetensors"):
        with pytest.raises(JobError, match="hub cannot be reached"):
            fetch_lora(name, "model.lora_path")
    with pytest.raises(JobError, match="model.lora_path names"):
        fetch_lora("nothing", "model.lora_path")
    with pytest.raises(JobError, match="pickle"):
        fetch_lora("adapter.ckpt", "model.lora_path")


def test_in_a_run_the_assistant_changes_what_is_learnt_and_no_picture(make_job, run, tmp_path, lora):
    """At a learning rate that changes nothing, the pictures are those of the base model."""

    def done(root, **model):
        job = make_job(train__lr=1e-12, train__steps=2, sample__format="png", **{f"model__{key}": str(path) for key, path in model.items()})
        events = run(job, root)
        assert events[-1].kind == "finished"
        pictures = [(tmp_path / root / "tiny" / e.path).read_bytes() for e in events if e.kind == "sampled"]
        return [e.loss for e in events if e.kind == "step"], pictures

    losses, pictures = done("plain")
    with_assistant = done("assistant", assistant_lora_path=lora)
    with_inference = done("inference", inference_lora_path=lora)
    assert with_assistant[0] != losses and with_assistant[1] == pictures
    assert with_inference[0] == losses and all(a != b for a, b in zip(with_inference[1], pictures, strict=True))
