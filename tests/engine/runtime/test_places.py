"""A base model put together from several places: each part is the one that was named."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import tiny
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file
from tiny.models.hidream import hidream
from tiny.models.sd import sd15
from tiny.models.zimage import as_comfyui_has_it, zimage

from engine.check import check_job
from engine.errors import JobError
from engine.jobs import ModelSection, load_job
from engine.runtime import loading
from engine.runtime.hub import base_name
from engine.runtime.loading import fingerprint, load_parts, open_family
from engine.runtime.places import find_place
from engine.settings import Settings, save_settings

CPU = torch.device("cpu")
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


def opened(base, parts=(), **settings):
    family = open_family(ModelSection(name_or_path=str(base), **{key: str(value) for key, value in settings.items()}), torch.float32)
    list(load_parts(family, parts, CPU, torch.float32))
    return family


def same(part: torch.nn.Module, other: torch.nn.Module) -> bool:
    one, two = part.state_dict(), other.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """The tiny FLUX with other weights in every part."""
    pipe = tiny.flux()
    torch.manual_seed(9)
    with torch.no_grad():
        for part in (pipe.transformer, pipe.vae, pipe.text_encoder, pipe.text_encoder_2):
            for weight in part.parameters():
                weight.add_(torch.randn_like(weight) * 0.1)
    return tiny.save(pipe, tmp_path_factory.mktemp("other") / "model")


KEYS = {
    "unet_path": ("transformer",),
    "vae_path": ("vae",),
    "te_name_or_path": ("text_encoder", "text_encoder_2"),
}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_takes_its_part_from_another_model_and_leaves_the_others(base, other, key):
    every = ("transformer", "vae", "text_encoder", "text_encoder_2")
    mixed, mine, theirs = opened(base, every, **{key: other}), opened(base, every), opened(other, every)
    for name in every:
        part = getattr(mixed.pipe, name)
        assert same(part, getattr((theirs if name in KEYS[key] else mine).pipe, name)), name
        assert not part.training


@pytest.mark.parametrize("key", KEYS)
def test_what_is_cached_follows_the_place_of_the_part(base, other, key):
    mixed, mine, theirs = opened(base, **{key: other}), opened(base), opened(other)
    for parts in KEYS.values():
        prints = [fingerprint(family, parts) for family in (mixed, mine, theirs)]
        assert prints[0] == prints[2 if parts == KEYS[key] else 1] and prints[1] != prints[2]


def test_what_is_cached_follows_a_single_file(base, other, tmp_path):
    shutil.copy(other / TRANSFORMER, tmp_path / "model.safetensors")
    before = fingerprint(opened(base, unet_path=tmp_path / "model.safetensors"), ("transformer",))
    assert before == fingerprint(opened(base, unet_path=tmp_path / "model.safetensors"), ("transformer",))
    shutil.copy(base / TRANSFORMER, tmp_path / "model.safetensors")
    os.utime(tmp_path / "model.safetensors", (1, 1))
    assert before != fingerprint(opened(base, unet_path=tmp_path / "model.safetensors"), ("transformer",))


def test_the_folder_of_a_part_alone_is_enough(base, other, tmp_path):
    for name in ("transformer", "vae", "text_encoder", "text_encoder_2"):
        shutil.copytree(other / name, tmp_path / name)
    theirs = opened(other, ("transformer", "text_encoder", "text_encoder_2"))
    assert same(opened(base, ("transformer",), unet_path=tmp_path / "transformer").denoiser, theirs.denoiser)
    assert same(opened(base, vae_path=tmp_path / "vae").pipe.vae, theirs.pipe.vae)
    mixed = opened(base, ("text_encoder", "text_encoder_2"), te_name_or_path=tmp_path / "text_encoder_2")
    assert same(mixed.pipe.text_encoder_2, theirs.pipe.text_encoder_2)
    assert same(mixed.pipe.text_encoder, opened(base, ("text_encoder",)).pipe.text_encoder)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
def test_a_denoiser_in_a_single_file_is_loaded_with_the_parts_of_another_model(base, other, tmp_path, prefix):
    save_file({prefix + name: tensor for name, tensor in load_file(other / TRANSFORMER).items()}, tmp_path / "model.safetensors")
    theirs = opened(other, ("transformer",))
    whole = opened(tmp_path / "model.safetensors", ("transformer", "text_encoder"), extras_name_or_path=base)
    assert same(whole.denoiser, theirs.denoiser)
    assert same(opened(base, ("transformer",), unet_path=tmp_path / "model.safetensors").denoiser, theirs.denoiser)


def test_autoencoder_and_text_encoders_can_be_single_files(base, other, tmp_path):
    theirs = opened(other, ("text_encoder", "text_encoder_2"))
    assert same(opened(base, vae_path=other / "vae/diffusion_pytorch_model.safetensors").pipe.vae, theirs.pipe.vae)
    for name in ("text_encoder", "text_encoder_2"):
        family = opened(base, ("text_encoder", "text_encoder_2"), te_name_or_path=other / name / "model.safetensors")
        changed = {part for part in ("text_encoder", "text_encoder_2") if same(getattr(family.pipe, part), getattr(theirs.pipe, part))}
        assert changed == {name}


def test_a_denoiser_with_the_names_of_the_original_model_is_converted(tmp_path):
    """Z-Image as ComfyUI has it."""
    base = tiny.save(zimage(), tmp_path / "base", family="zimage")
    expected = zimage().transformer.state_dict()
    save_file(as_comfyui_has_it(expected), tmp_path / "zimage.safetensors")
    loaded = opened(tmp_path / "zimage.safetensors", ("transformer",), extras_name_or_path=base).denoiser.state_dict()
    assert loaded.keys() == expected.keys() and all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_a_whole_checkpoint_gives_all_its_parts(tmp_path):
    """Stable Diffusion in one file, as most of its descendants come."""
    torch.manual_seed(4)
    pipe = sd15()
    with torch.no_grad():
        for part in (pipe.unet, pipe.vae, pipe.text_encoder):
            for weight in part.parameters():
                weight.add_(torch.randn_like(weight) * 0.1)
    save_file({name: tensor.clone() for name, tensor in as_original(pipe).items()}, tmp_path / "photo.safetensors")
    base = tiny.save(sd15(), tmp_path / "base", family="sd15")
    family = opened(tmp_path / "photo.safetensors", ("unet", "text_encoder"), extras_name_or_path=base, arch="sd15")
    for name in ("unet", "vae", "text_encoder"):
        assert same(getattr(family.pipe, name), getattr(pipe, name)), name


def as_original(pipe) -> dict[str, torch.Tensor]:
    """A Stable Diffusion with a layer in each block under the names of the first implementation. Written from those names."""
    resnet = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
              "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}  # fmt: skip
    outside = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
               "conv_norm_out": "out.0", "conv_out": "out.2"}  # fmt: skip
    down, up = len(pipe.unet.down_blocks), len(pipe.unet.up_blocks)
    assert pipe.unet.config.layers_per_block == 1 and down == up

    def of_unet(name: str) -> str:
        head, _, tail = name.rpartition(".")
        if head in outside:
            return f"{outside[head]}.{tail}"
        kind, *rest = name.split(".")
        if kind == "mid_block":
            place = f"middle_block.{ {('resnets', '0'): 0, ('attentions', '0'): 1, ('resnets', '1'): 2}[rest[0], rest[1]] }"
            what, inside = rest[0], rest[2:]
        else:
            block, what, layer, *inside = rest
            if what == "downsamplers":
                return f"input_blocks.{(int(block) + 1) * 2}.0.op.{tail}"
            if what == "upsamplers":
                attended = hasattr(pipe.unet.up_blocks[int(block)], "attentions")
                return f"output_blocks.{int(block) * 2 + 1}.{2 if attended else 1}.conv.{tail}"
            number = int(block) * 2 + 1 if kind == "down_blocks" else int(block) * 2 + int(layer)
            place = f"{'input_blocks' if kind == 'down_blocks' else 'output_blocks'}.{number}.{int(what == 'attentions')}"
        if what == "resnets":
            inside[0] = resnet[inside[0]]
        return ".".join((place, *inside))

    def of_vae(name: str) -> str:
        for pattern, new in (
            (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
            (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
            (r"mid_block\.resnets\.0", "mid.block_1"),
            (r"mid_block\.resnets\.1", "mid.block_2"),
            (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
            (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
            (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
            (r"up_blocks\.0\.resnets\.(\d)", r"up.1.block.\1"),
            (r"up_blocks\.1\.resnets\.(\d)", r"up.0.block.\1"),
            (r"up_blocks\.0\.upsamplers\.0", r"up.1.upsample"),
            (r"conv_norm_out", "norm_out"),
            (r"conv_shortcut", "nin_shortcut"),
        ):
            name = re.sub(pattern, new, name)
        return name

    tensors = {f"model.diffusion_model.{of_unet(name)}": tensor for name, tensor in pipe.unet.state_dict().items()}
    tensors |= {f"first_stage_model.{of_vae(name)}": tensor for name, tensor in pipe.vae.state_dict().items()}
    for name, tensor in pipe.text_encoder.state_dict().items():
        tensors[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor
    return tensors


def test_a_single_file_needs_to_be_told_where_the_rest_is(tmp_path):
    def place(**settings):
        return base_name(ModelSection(name_or_path="/x/model.safetensors", **settings))

    assert place(arch="flux") == "black-forest-labs/FLUX.1-dev"
    assert place(extras_name_or_path="some/model") == "some/model"
    with pytest.raises(JobError, match="single file") as caught:
        place()
    assert "model.arch" in caught.value.hint and "extras_name_or_path" in caught.value.hint


def test_a_file_of_another_model_is_refused(base, tmp_path):
    save_file({"blocks.0.weight": torch.zeros(2)}, tmp_path / "odd.safetensors")
    for key, part in (("unet_path", "transformer"), ("vae_path", "vae")):
        with pytest.raises(JobError, match=f"{part} of the base model in .*odd.safetensors cannot be loaded"):
            opened(base, ("transformer",), **{key: tmp_path / "odd.safetensors"})
    with pytest.raises(JobError, match="te_name_or_path: .* has no text_encoder"):
        opened(base, te_name_or_path=tmp_path / "odd.safetensors")
    with pytest.raises(JobError, match="unet_path: .* has no transformer"):
        opened(base, unet_path=tmp_path)


def test_a_file_that_another_program_quantized_is_refused(base, other, tmp_path):
    tensors = load_file(other / TRANSFORMER) | {"proj_out.scale_weight": torch.ones(())}
    save_file(tensors, tmp_path / "scaled.safetensors")
    with pytest.raises(JobError, match="quantized by another program") as caught:
        opened(base, ("transformer",), unet_path=tmp_path / "scaled.safetensors")
    assert "model.quantize" in caught.value.hint


def test_a_file_that_is_cut_short_is_told(base, other, tmp_path):
    whole = (other / TRANSFORMER).read_bytes()
    (tmp_path / "short.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JobError, match="cannot be read"):
        opened(base, ("transformer",), unet_path=tmp_path / "short.safetensors")


def test_names_are_looked_for_here_first_then_among_the_models_then_on_the_hub(tmp_path):
    (tmp_path / "models" / "some" / "vae").mkdir(parents=True)
    (tmp_path / "models" / "flat.safetensors").touch()
    assert find_place("some/vae").repo == "some/vae"
    save_settings(Settings(models=tmp_path / "models"))
    assert find_place("some/vae").path == tmp_path / "models" / "some" / "vae"
    assert find_place("flat.safetensors").path == tmp_path / "models" / "flat.safetensors"
    place = find_place("owner/name/folder/model.safetensors")
    assert (place.path, place.repo, place.file) == (None, "owner/name", "folder/model.safetensors")
    for name, words in (("model.ckpt", "pickle"), ("nothing", "nothing at"), ("a/b/c", "nothing at"), ("/none/x", "nothing at")):
        with pytest.raises(JobError, match=words):
            find_place(name, "model.vae_path")


def test_a_place_that_only_the_hub_has_is_one_sentence_without_a_network(base):
    for key in KEYS:
        with pytest.raises(JobError, match="some/model is not on this computer, and the hub cannot be reached"):
            opened(base, **{key: "some/model"})


def test_what_another_place_gives_is_not_downloaded_with_the_base(base, other, monkeypatch):
    """Of a base on the hub, no weights that are not used; the config beside a single file is the base's."""
    asked, fetched = [], []

    def one(repo, file, revision=None):
        asked.append(file)
        return str(base / file)

    def download(name, revision=None, **settings):
        fetched.append((name, revision, {key for key, value in settings.items() if value is None}))
        return str(base)

    monkeypatch.setattr(loading, "hf_hub_download", one)
    monkeypatch.setattr(DiffusionPipeline, "download", download)
    open_family(ModelSection(name_or_path="some/base", revision="v1"), torch.float32)
    assert fetched == [("some/base", "v1", set())] and asked == ["model_index.json"]
    section = ModelSection(
        name_or_path=str(other / TRANSFORMER),
        extras_name_or_path="some/base",
        revision="v1",
        vae_path=str(other),
        te_name_or_path=str(other),
    )
    family = open_family(section, torch.float32)
    assert fetched[1] == ("some/base", None, {"transformer", "vae"})
    assert asked[1:] == ["model_index.json", "transformer/config.json", "vae/config.json"]
    assert same(family.pipe.vae, opened(other).pipe.vae)


def test_parts_that_are_never_opened_are_not_downloaded(tmp_path, monkeypatch):
    """The safety checker of Stable Diffusion is a gigabyte. Without its folder the model opens just as well."""
    folder = tiny.save(sd15(), tmp_path / "base")
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "requires_safety_checker": True}
    (folder / "model_index.json").write_text(json.dumps(index))
    asked = {}
    monkeypatch.setattr(loading, "hf_hub_download", lambda repo, file, **more: str(folder / file))
    monkeypatch.setattr(DiffusionPipeline, "download", lambda name, **given: asked.update(given) or str(folder))
    family = open_family(ModelSection(name_or_path="some/base"), torch.float32)
    left_out = {name for name, value in asked.items() if value is None}
    assert left_out == {"safety_checker", "feature_extractor", "image_encoder", "revision"}
    assert family.pipe.safety_checker is None


def test_check_looks_at_every_place(base, pictures, tmp_path):
    def problems(**model):
        job = load_job({"name": "x", "model": {"name_or_path": str(base), **model}, "datasets": [{"path": str(pictures)}]})
        return [finding.message for finding in check_job(job) if not finding.ok]

    assert problems() == []
    assert problems(vae_path=str(base), assistant_lora_path=str(base / TRANSFORMER)) == []
    for key in (*KEYS, "lora_path", "assistant_lora_path", "inference_lora_path"):
        assert "nothing at" in problems(**{key: str(tmp_path / "nothing")})[0]
    assert "pickle" in problems(vae_path="vae.pt")[0]


def test_a_part_that_is_a_model_of_its_own_comes_from_where_the_job_says(tmp_path):
    """HiDream's Llama: its repository does not hold it."""
    whole = tiny.save(hidream(), tmp_path / "whole")
    base = Path(shutil.copytree(whole, tmp_path / "base"))
    llama = Path(shutil.copytree(base / "tokenizer_4", tmp_path / "llama"))
    shutil.copytree(base / "text_encoder_4", llama, dirs_exist_ok=True)
    for name in ("text_encoder_4", "tokenizer_4"):
        shutil.rmtree(base / name)
    index = json.loads((base / "model_index.json").read_text())
    (base / "model_index.json").write_text(json.dumps({key: value for key, value in index.items() if not key.endswith("_4")}))
    model = ModelSection(name_or_path=str(base), model_kwargs={"llama_model_path": str(llama)})
    guest, own = open_family(model, torch.float32), open_family(ModelSection(name_or_path=str(whole)), torch.float32)
    features = []
    for family in (guest, own):
        list(load_parts(family, family.text_parts, CPU, torch.float32))
        features.append(family.encode_prompts(["a red fox"])["prompt_embeds_llama3"])
    assert torch.equal(*features)
    assert fingerprint(guest, ("text_encoder_4",)) != fingerprint(own, ("text_encoder_4",))
    (llama / "config.json").unlink()
    with pytest.raises(JobError, match="llama_model_path: .* is no model folder"):
        open_family(model, torch.float32)
