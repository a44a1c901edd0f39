"""Flat names, and those of UNets: what is written is what the loaders read, and comes back."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.utils import convert_unet_state_dict_to_peft
from safetensors.torch import save_file
from torch import nn

from engine.errors import JobError
from engine.families.catalog import FAMILIES, load_family
from engine.jobs import Lora
from engine.network.attach import attach
from engine.network.formats import canonical, form_of, from_any, to_form
from engine.network.keys import TABLES, dialect_of, families_of, family_of, fill, find_diffusers, find_native
from engine.network.layers import Layer, join, split


def unet(family: str) -> UNet2DConditionModel:
    """Of the real shape, without weights."""
    config = {
        "block_out_channels": (320, 640, 1280), "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "transformer_layers_per_block": (1, 2, 10),
        "cross_attention_dim": 2048, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816, "use_linear_projection": True, "attention_head_dim": (5, 10, 20),
    }  # fmt: skip
    with torch.device("meta"):
        return UNet2DConditionModel(**(config if family == "sdxl" else {"cross_attention_dim": 768}))


def layers_of(model: nn.Module) -> list[str]:
    return [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def tiny_lora(names: list[str], part: str = "unet") -> dict[str, torch.Tensor]:
    """Rank 1; each layer has a number of its own, so that a mistaken one is seen."""
    return join(
        {f"{part}.{name}": Layer(torch.full((1, 2), i + 1.0), torch.full((3, 1), 1.0), 0.5) for i, name in enumerate(sorted(names))}
    )


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_every_layer_of_a_real_unet_has_one_native_name_and_comes_back(family):
    names = layers_of(unet(family))
    assert len(names) == {"sd15": 282, "sdxl": 794}[family]
    native = {}
    for name in names:
        rule, position, groups = find_diffusers(TABLES[family], name)
        native[fill(rule.native, groups)] = name
        assert (position, len(rule.parts)) == (0, 1)
    assert len(native) == len(names)
    for theirs, ours in native.items():
        for flat in (False, True):
            rule, groups = find_native(TABLES[family], theirs.replace(".", "_") if flat else theirs, flat)
            assert fill(rule.parts[0], groups) == ours
    assert family_of(names) == family == family_of(native) == families_of([], [name.replace(".", "_") for name in native])[0]


SDXL_NAMES = {  # as ComfyUI's unet_to_diffusers has them
    "down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q": "input_blocks.4.1.transformer_blocks.1.attn1.to_q",
    "down_blocks.2.attentions.1.transformer_blocks.9.ff.net.0.proj": "input_blocks.8.1.transformer_blocks.9.ff.net.0.proj",
    "mid_block.attentions.0.proj_in": "middle_block.1.proj_in",
    "up_blocks.0.attentions.2.transformer_blocks.3.attn2.to_out.0": "output_blocks.2.1.transformer_blocks.3.attn2.to_out.0",
    "up_blocks.1.attentions.0.proj_out": "output_blocks.3.1.proj_out",
    "down_blocks.0.resnets.1.conv1": "input_blocks.2.0.in_layers.2",
    "up_blocks.2.resnets.2.time_emb_proj": "output_blocks.8.0.emb_layers.1",
    "down_blocks.1.downsamplers.0.conv": "input_blocks.6.0.op",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.2.2.conv",
    "add_embedding.linear_1": "label_emb.0.0",
}


def test_the_names_of_sdxl_are_these_and_those_of_sd_are_diffusers():
    tensors = tiny_lora(list(SDXL_NAMES))
    ends = ("lora_down.weight", "lora_up.weight", "alpha")
    assert set(to_form(tensors, "kohya", "sdxl")) == {
        f"lora_unet_{name.replace('.', '_')}.{end}" for name in SDXL_NAMES.values() for end in ends
    }
    assert set(to_form(tensors, "comfyui", "sdxl")) == {f"diffusion_model.{name}.{end}" for name in SDXL_NAMES.values() for end in ends}
    old = tiny_lora(
        ["down_blocks.3.resnets.0.conv1", "up_blocks.1.attentions.2.transformer_blocks.0.attn1.to_out.0", "up_blocks.0.upsamplers.0.conv"]
    )
    assert set(to_form(old, "kohya", "sd15")) == {
        f"lora_unet_{name}.{end}"
        for name in (
            "down_blocks_3_resnets_0_conv1",
            "up_blocks_1_attentions_2_transformer_blocks_0_attn1_to_out_0",
            "up_blocks_0_upsamplers_0_conv",
        )
        for end in ends
    }
    assert "diffusion_model.output_blocks.2.1.conv.alpha" in to_form(old, "comfyui", "sd15")


@pytest.mark.parametrize(
    "family, pipeline, native",
    [("sd15", StableDiffusionPipeline, False), ("sdxl", StableDiffusionXLPipeline, True), ("sdxl", StableDiffusionXLPipeline, False)],
)
def test_stock_diffusers_finds_every_layer_of_a_unet_under_flat_names_of_both_kinds(family, pipeline, native):
    """So do ComfyUI and Forge, whose lists have both; kohya's scripts and its files have diffusers' names for SD 1, native ones for SDXL."""
    model = unet(family)
    names = [name for name in layers_of(model) if "attentions" in name or "resnets" in name or "samplers" in name]
    ours = tiny_lora(names)
    tensors = to_form(ours, "kohya", family)
    if not native:
        tensors = {
            f"lora_unet_{path.removeprefix('unet.').replace('.', '_')}.{end}": tensor
            for path, layer in split(ours).items()
            for end, tensor in (("lora_down.weight", layer.down), ("lora_up.weight", layer.up), ("alpha", torch.tensor(0.5)))
        }
    state, alphas = pipeline.lora_state_dict(dict(tensors), unet_config=model.config)
    read = convert_unet_state_dict_to_peft({key.removeprefix("unet."): tensor for key, tensor in state.items()})
    wanted = {f"{path.removeprefix('unet.')}.lora_A.weight": layer.down for path, layer in split(ours).items()}
    assert {key for key in read if "lora_A" in key} == set(wanted)
    assert all(torch.equal(read[key], down) for key, down in wanted.items())
    assert set(alphas.values()) == {0.5} and len(alphas) == len(names)
    back = canonical(tensors, {})
    assert back.keys() == ours.keys() and all(torch.equal(back[key], ours[key]) for key in ours)


CLIP = [
    f"text_model.encoder.layers.{i}.{layer}" for i in (0, 11) for layer in ("self_attn.q_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
]


@pytest.mark.parametrize(
    "family, unet_layer, starts",
    [
        ("sd15", "mid_block.attentions.0.proj_in", {"text_encoder": "lora_te_"}),
        ("sdxl", "mid_block.attentions.0.proj_in", {"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}),
    ],
)
@pytest.mark.parametrize("form", ["kohya", "comfyui"])
def test_text_encoders_have_flat_names_that_the_loaders_know(family, unet_layer, starts, form):
    tensors = tiny_lora([unet_layer])
    for part in starts:
        tensors |= tiny_lora(CLIP, part)
    named = to_form(tensors, form, family)
    wanted = {f"{start}{name.replace('.', '_')}.alpha" for start in starts.values() for name in CLIP}
    assert {name for name in named if name.startswith("lora_te") and name.endswith("alpha")} == wanted
    back = canonical(named, {})
    assert back.keys() == tensors.keys() and all(torch.equal(back[key], tensors[key]) for key in tensors)
    if form == "kohya":
        pipeline = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
        state, _ = pipeline.lora_state_dict(dict(named), unet_config=unet(family).config)
        assert {key.split(".")[0] for key in state} == {"unet", *starts}


def test_a_clip_without_its_outer_name_is_saved_with_it_and_read_back(tmp_path):
    """transformers 5 calls the layers of CLIPTextModel encoder.layers; all files say text_model.encoder.layers."""
    from tiny.parts import clip

    def attached(seed: int):
        network = attach(Lora(rank=2), {"text_encoder": clip()}, r"(text_model\.)?encoder.*q_proj", seed=seed, family="sd15")
        for weight in network.parameters():
            nn.init.normal_(weight, generator=torch.Generator().manual_seed(seed))
        return network

    one, other = attached(1), attached(2)
    assert "text_encoder.encoder.layers.0.self_attn.q_proj" in one._layers
    for form in ("kohya", "comfyui", "diffusers"):
        one.save(tmp_path / form, {}, "fp32", form)
        other.load(tmp_path / form)
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
        start = "text_encoder.text_model.encoder.layers.1." if form == "diffusers" else "lora_te_text_model_encoder_layers_1_"
        assert any(name.startswith(start) for name in to_form(one._canonical(), form, "sd15"))
        other = attached(3)


def test_the_flat_names_of_flux_are_kohyas(make_network):
    ours = make_network(alpha=2)._canonical()
    native = to_form(ours, "comfyui", "flux")
    flat = {
        f"lora_unet_{path.replace('.', '_')}.{end}"
        for path, _, end in (
            (name.removeprefix("diffusion_model.").rsplit(".lora_", 1)[0].removesuffix(".alpha"), "", name.split(".")[-1])
            for name in native
        )
    }
    assert {name.rsplit(".", 1)[0].removesuffix(".lora_down").removesuffix(".lora_up") for name in to_form(ours, "kohya", "flux")} == {
        name.rsplit(".", 1)[0] for name in flat
    }
    assert "lora_unet_double_blocks_1_img_attn_qkv.lora_down.weight" in to_form(ours, "kohya", "flux")
    back = split(canonical(to_form(ours, "kohya", "flux"), {}))
    for path, layer in split(ours).items():
        torch.testing.assert_close(back[path].delta(), layer.delta(), rtol=0, atol=1e-6)


def test_other_tools_flat_names_are_read_too(make_network):
    """OneTrainer and SimpleTuner make theirs from diffusers' names."""
    ours = make_network()._canonical()
    for start in ("lora_transformer_", "lycoris_"):
        flat = {}
        for path, layer in split(ours).items():
            name = start + path.removeprefix("transformer.").replace(".", "_")
            flat |= {f"{name}.lora_down.weight": layer.down, f"{name}.lora_up.weight": layer.up}
        assert form_of(flat) == {"lora_transformer_": "onetrainer", "lycoris_": "lycoris"}[start]
        back = canonical(flat, {})
        assert back.keys() == ours.keys() and all(torch.equal(back[key], ours[key]) for key in ours)


def test_a_flat_name_that_no_table_has_is_found_among_the_real_modules_or_refused(monkeypatch, tmp_path):
    from engine.network import keys

    monkeypatch.setitem(keys.TABLES, "new", keys.SAME)
    ours = join({"transformer.some_blocks.3.to_q_proj": Layer(torch.ones(2, 4), torch.ones(4, 2), 2.0)})
    for form, name in (("kohya", "lora_unet_some_blocks_3_to_q_proj"), ("comfyui", "diffusion_model.some_blocks.3.to_q_proj")):
        tensors = to_form(ours, form, "new")
        assert set(tensors) == {f"{name}.{end}" for end in ("lora_down.weight", "lora_up.weight", "alpha")}
        save_file(tensors, tmp_path / form)
    # any name fits a table of equal names: only who expects that family may take it
    assert canonical(to_form(ours, "comfyui", "new"), {}, family="new").keys() == ours.keys()
    with pytest.raises(JobError, match=r"some_blocks\.3\.to_q_proj has no rule here"):
        from_any(tmp_path / "comfyui")
    with pytest.raises(JobError, match=r"some_blocks_3_to_q_proj has no rule here"):
        from_any(tmp_path / "kohya", "new")
    assert from_any(tmp_path / "kohya", "new", ["some_blocks.3.to_q_proj", "some.other"]).keys() == ours.keys()


def test_families_that_share_their_names_are_told_apart_by_what_is_expected():
    shared = ["transformer_blocks.0.attn.to_q", "single_transformer_blocks.1.proj_mlp"]
    assert family_of(shared) == "flux" and family_of(shared, "flux_kontext") == "flux_kontext"
    assert family_of(shared, "sdxl") == "flux"  # what is expected and does not fit counts for nothing
    assert family_of([*shared, "down_blocks.0.resnets.0.conv1"]) is None and family_of([]) is None


def test_what_a_table_does_not_have_is_refused():
    for family, part, name in (
        ("sdxl", "unet", "down_blocks.0.attentions.0.proj_in"),
        ("sd15", "unet", "conv_on"),
        ("sdxl", "text_encoder_3", CLIP[0]),
    ):
        with pytest.raises(JobError, match=f"The layer {part}.{name} has no name in kohya"):
            to_form(tiny_lora([name], part), "kohya", family)
    with pytest.raises(JobError, match="lora_te1_text_model_encoder_tiers_0_mlp_fc1 has no rule"):
        canonical(join({"lora_te1_text_model_encoder_tiers_0_mlp_fc1": Layer(torch.ones(1, 2), torch.ones(2, 1), 1.0)}), {})


@pytest.mark.parametrize("name", sorted(set(FAMILIES) & set(TABLES)))
def test_the_prefix_of_a_family_with_a_table_is_what_its_pipeline_calls_the_denoiser(name):
    assert dialect_of(name).part == load_family(name).denoiser_part
