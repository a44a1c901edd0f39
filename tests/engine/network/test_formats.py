"""Names in files, and the update that they stand for."""

from __future__ import annotations

import pytest
import tiny
import torch
import updates
from diffusers import FluxPipeline
from safetensors.torch import save_file

from engine.errors import JobError
from engine.network.formats import adapter_metadata, canonical, form_of, from_any, to_form, unread
from engine.network.keys import TABLES, find_diffusers, find_native
from engine.network.layers import Layer, join, split

EVERYTHING = r".*(linear|linear_[12]|embedder|to_[qkv]|add_[qkv]_proj|to_out\.0|to_add_out|proj|net\.2|proj_mlp|proj_out)"
NATIVE_LAYERS = [
    *(f"double_blocks.0.{stream}_{layer}" for stream in ("img", "txt") for layer in ("attn.proj", "attn.qkv", "mlp.0", "mlp.2")),
    "single_blocks.0.linear1",
    "single_blocks.0.linear2",
]


def random_layers(shapes: dict[str, tuple[int, int]], rank: int = 4, alpha: float | None = None) -> dict[str, Layer]:
    """Layers of (out, in) features, drawn from their names."""
    layers = {}
    for path, (out, into) in shapes.items():
        generator = torch.Generator().manual_seed(sum(map(ord, path)))
        down, up = (
            torch.randn(rank, into, generator=generator),
            torch.randn(out, rank, generator=generator) * 0.1,
        )
        layers[path] = Layer(down, up, float(rank if alpha is None else alpha))
    return layers


def deltas(tensors) -> dict[str, torch.Tensor]:
    return {path: layer.up @ layer.down * layer.scale for path, layer in split(tensors).items()}


def test_the_native_names_of_a_tiny_flux_are_these(make_network):
    tensors = to_form(make_network()._canonical(), "comfyui", "flux")
    wanted = {
        f"diffusion_model.{layer.replace('.0.', f'.{block}.', 1)}.{end}"
        for layer in NATIVE_LAYERS
        for block in (0, 1)
        for end in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    assert set(tensors) == wanted
    qkv = "diffusion_model.double_blocks.1.txt_attn.qkv"
    assert tensors[f"{qkv}.lora_down.weight"].shape == (12, 32) and tensors[f"{qkv}.lora_up.weight"].shape == (96, 12)
    linear1 = "diffusion_model.single_blocks.0.linear1"
    assert tensors[f"{linear1}.lora_up.weight"].shape == (7 * 32, 16) and tensors[f"{linear1}.alpha"].shape == ()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"alpha": 1},
        {"alpha": 7.5, "rank": 3},
        {"only_if_contains": ["to_q", "to_v"]},
        {"ignore_if_contains": ["proj_mlp"]},
    ],
)
def test_comfyui_reads_the_same_update_from_native_names(make_network, settings):
    network = make_network(**settings)
    native = updates.by_comfyui(to_form(network._canonical(), "comfyui", "flux"))
    found, own = updates.to_diffusers(native, width=32), updates.of_network(network)
    assert all(found[path].abs().max() == 0 for path in found.keys() - own.keys())  # parts of a fused layer that are not trained
    updates.assert_same(own, {path: found[path] for path in own})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"alpha": 2},
        {"alpha": 7.5, "rank": 3},
        {"only_if_contains": ["to_q", "to_v"]},
        {"ignore_if_contains": ["proj_mlp"]},
    ],
)
def test_to_native_names_and_back_is_the_same_lora(make_network, settings):
    ours = make_network(**settings)._canonical()
    back = canonical(to_form(ours, "comfyui", "flux"), {})
    updates.assert_same(deltas(ours), deltas(back))
    assert {layer.rank for layer in split(back).values()} == {settings.get("rank", 4)}  # and no larger than before


def test_the_diffusers_form_and_back_is_the_same_update(make_network):
    ours = make_network(alpha=7.5)._canonical()
    tensors = to_form(ours, "diffusers", "flux")
    assert not any(name.endswith(".alpha") for name in tensors)
    updates.assert_same(deltas(ours), deltas(canonical(tensors, {})))


def test_every_layer_of_flux_has_a_native_name_and_comes_back(make_network):
    denoiser = tiny.flux(guidance_embeds=True, layers=2).transformer
    linear = {name for name, layer in denoiser.named_modules() if isinstance(layer, torch.nn.Linear)}
    assert len(linear) > 40
    for name in linear:
        rule, position, numbers = find_diffusers(TABLES["flux"], name)
        native = rule.native.format(*numbers)
        assert find_native(TABLES["flux"], native) == (rule, numbers) and rule.parts[position].format(*numbers) == name


def test_the_last_modulation_changes_its_halves(make_network):
    layers = random_layers(
        {
            "transformer.norm_out.linear": (64, 32),
            "transformer.proj_out": (4, 32),
            "transformer.x_embedder": (32, 4),
        }
    )
    tensors = to_form(join(layers), "comfyui", "flux")
    assert {name.rsplit(".lora_", 1)[0].removesuffix(".alpha") for name in tensors} == {
        "diffusion_model.final_layer.adaLN_modulation.1", "diffusion_model.final_layer.linear", "diffusion_model.img_in"
    }  # fmt: skip
    scale, shift = deltas(join(layers))["transformer.norm_out.linear"].chunk(2)
    native = updates.by_comfyui(tensors)["diffusion_model.final_layer.adaLN_modulation.1"]
    torch.testing.assert_close(native, torch.cat([shift, scale]))
    updates.assert_same(deltas(join(layers)), deltas(canonical(tensors, {})))


FLUX_SIZED = {
    "transformer.single_transformer_blocks.3.attn.to_q": (3072, 3072),
    "transformer.single_transformer_blocks.3.attn.to_k": (3072, 3072),
    "transformer.single_transformer_blocks.3.attn.to_v": (3072, 3072),
    "transformer.single_transformer_blocks.3.proj_mlp": (12288, 3072),
    "transformer.single_transformer_blocks.3.proj_out": (3072, 15360),
    "transformer.transformer_blocks.2.attn.to_q": (3072, 3072),
    "transformer.transformer_blocks.2.attn.to_v": (3072, 3072),
    "transformer.transformer_blocks.2.attn.add_k_proj": (3072, 3072),
    "transformer.transformer_blocks.2.ff.net.2": (3072, 12288),
}


@pytest.mark.parametrize("alpha", [2, 1])
@pytest.mark.parametrize("without", ["nothing", "proj_mlp"])
def test_stock_diffusers_reads_the_native_file_of_a_lora_of_flux(tmp_path, alpha, without):
    """Its converter has the sizes of FLUX.1 written into it, so the LoRA has them too; compared on random inputs."""
    layers = random_layers({path: shape for path, shape in FLUX_SIZED.items() if without not in path}, rank=2, alpha=alpha)
    save_file(to_form(join(layers), "comfyui", "flux"), tmp_path / "native.safetensors")
    read = split(FluxPipeline.lora_state_dict(tmp_path / "native.safetensors"))
    for path in {*layers, *read}:
        into = read[path].down.shape[1]
        probe = torch.randn(into, 3, generator=torch.Generator().manual_seed(1)) / into**0.5
        theirs = read[path].up @ (read[path].down @ probe)
        ours = layers[path].up @ (layers[path].down @ probe) * layers[path].scale if path in layers else torch.zeros_like(theirs)
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-6)


def test_a_fused_lora_of_another_tool_is_cut_into_the_same_update():
    """Its up is dense: the parts share one down."""
    native = random_layers(
        {
            "diffusion_model.double_blocks.0.img_attn.qkv": (96, 32),
            "diffusion_model.single_blocks.0.linear1": (224, 32),
        },
        rank=6,
        alpha=3,
    )
    tensors = join(native)
    read = canonical(tensors, {})
    updates.assert_same(updates.to_diffusers(updates.by_comfyui(tensors), width=32), deltas(read))
    again = to_form(read, "comfyui", "flux")
    updates.assert_same(updates.by_comfyui(tensors), updates.by_comfyui(again))
    assert again["diffusion_model.single_blocks.0.linear1.lora_down.weight"].shape == (
        6,
        32,
    )  # and not four times as large


def test_a_lora_that_has_learnt_nothing_survives_the_way_to_native_names(make_network):
    ours = make_network(trained=False)._canonical()
    back = split(canonical(to_form(ours, "comfyui", "flux"), {}))
    assert back.keys() == split(ours).keys() and {layer.rank for layer in back.values()} == {4}


def test_parts_of_different_scale_are_fused_exactly():
    layers = random_layers({f"transformer.transformer_blocks.0.attn.to_{x}": (32, 32) for x in "qkv"}, rank=4)
    layers["transformer.transformer_blocks.0.attn.to_k"] = Layer(
        layers["transformer.transformer_blocks.0.attn.to_k"].down[:3],
        layers["transformer.transformer_blocks.0.attn.to_k"].up[:, :3],
        1.0,
    )
    native = updates.by_comfyui(to_form(join(layers), "comfyui", "flux"))
    updates.assert_same(deltas(join(layers)), updates.to_diffusers(native, width=32))


@pytest.mark.parametrize(
    "name",
    [
        "transformer.transformer_blocks.0.attn.to_x",
        "text_encoder.layers.0.mlp.fc1",
        "transformer.transformer_blocks.x.attn.to_q",
    ],
)
def test_a_layer_without_a_native_name_is_an_error_that_says_it(name):
    with pytest.raises(JobError, match=f"The layer {name} has no name in ComfyUI"):
        to_form(join(random_layers({name: (8, 8)})), "comfyui", "flux")


@pytest.mark.parametrize("name", ["double_blocks.0.img_attn.what", "layers.0.what.qkv"])
def test_a_native_name_without_a_rule_is_an_error_that_says_it(name):
    good = random_layers({"diffusion_model.double_blocks.0.img_attn.proj": (32, 32), f"diffusion_model.{name}": (32, 32)})
    with pytest.raises(JobError, match=f"The layer {name} has no rule"):
        canonical(join(good), {})


@pytest.mark.parametrize(
    "key, kind",
    [
        ("a.oft_diag", "OFT"),
        ("a.lora_mid.weight", "LoCon"),
        ("a.diff_b", "full difference"),
        ("a.lora_B.bias", "no part of a LoRA"),
    ],
)
def test_a_tensor_of_another_kind_is_an_error_that_says_it(key, kind):
    tensors = join(random_layers({"transformer.a": (8, 8)})) | {f"transformer.{key}": torch.zeros(8, 8)}
    with pytest.raises(JobError, match=f"transformer.{key} .*{kind}"):
        canonical(tensors, {})


def test_half_a_layer_and_sizes_of_another_model_are_errors():
    whole = join(random_layers({"transformer.a": (8, 8)}))
    with pytest.raises(JobError, match=r"transformer\.a has only half"):
        split({name: tensor for name, tensor in whole.items() if "lora_B" not in name})
    with pytest.raises(JobError, match="90 rows where 96 belong"):
        canonical(join(random_layers({"diffusion_model.double_blocks.0.img_attn.qkv": (90, 32)})), {})


def kohya(rank: int = 4, alpha: float = 2.0) -> dict[str, torch.Tensor]:
    layers = {
        "lora_unet_double_blocks_0_img_attn_qkv": (96, 32),
        "lora_unet_double_blocks_0_txt_mlp_0": (128, 32),
        "lora_unet_single_blocks_1_linear2": (32, 160),
        "lora_unet_final_layer_linear": (4, 32),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1": (37, 32),
    }
    return join(random_layers(layers, rank, alpha), ("lora_down.weight", "lora_up.weight"))


def test_kohyas_names_are_read_through_stock_diffusers(tmp_path):
    tensors = kohya()
    save_file(tensors, tmp_path / "kohya.safetensors")
    read, native = deltas(from_any(tmp_path / "kohya.safetensors")), updates.by_comfyui(tensors)
    for number, part in enumerate(("to_q", "to_k", "to_v")):
        rows = native["lora_unet_double_blocks_0_img_attn_qkv"][32 * number : 32 * (number + 1)]
        torch.testing.assert_close(read[f"transformer.transformer_blocks.0.attn.{part}"], rows)
    pairs = {
        "transformer.transformer_blocks.0.ff_context.net.0.proj": "lora_unet_double_blocks_0_txt_mlp_0",
        "transformer.single_transformer_blocks.1.proj_out": "lora_unet_single_blocks_1_linear2",
        "transformer.proj_out": "lora_unet_final_layer_linear",  # the converter forgets prefix and alpha of this one
        "text_encoder.text_model.encoder.layers.0.mlp.fc1": "lora_te1_text_model_encoder_layers_0_mlp_fc1",
    }
    for ours, theirs in pairs.items():
        torch.testing.assert_close(read[ours], native[theirs])


def test_kohyas_names_of_another_family_are_an_error(tmp_path):
    save_file(
        join(
            random_layers({"lora_unet_stages_1_1_proj_in": (8, 8)}),
            ("lora_down.weight", "lora_up.weight"),
        ),
        tmp_path / "other.safetensors",
    )
    with pytest.raises(JobError, match=r"The layer stages_1_1_proj_in has no rule here"):
        from_any(tmp_path / "other.safetensors")


def test_a_scale_that_stands_only_in_the_header_is_found(make_network):
    """As stock diffusers saves a PEFT adapter."""
    tensors = {name: tensor for name, tensor in make_network()._canonical().items() if not name.endswith(".alpha")}
    header = {
        "lora_adapter_metadata": '{"transformer.lora_alpha": 8, "transformer.r": 4, "transformer.alpha_pattern": {"^transformer_blocks.0.attn.to_q": 2}}'
    }
    layers = split(canonical(tensors, header))
    assert layers["transformer.transformer_blocks.0.attn.to_q"].scale == 0.5
    assert {layer.scale for path, layer in layers.items() if "transformer.transformer_blocks.0.attn.to_q" not in path} == {2.0}
    with pytest.raises(JobError, match="not valid JSON"):
        canonical(tensors, {"lora_adapter_metadata": "{"})


def test_layers_of_several_ranks_keep_their_scale_in_stock_diffusers(tmp_path):
    layers = random_layers({f"transformer.transformer_blocks.0.attn.to_{x}": (32, 32) for x in "qk"}, rank=4, alpha=2)
    layers |= random_layers({"transformer.transformer_blocks.0.attn.to_v": (32, 32)}, rank=6, alpha=3)
    tensors = join(layers)
    save_file(to_form(tensors, "diffusers", "flux"), tmp_path / "mixed.safetensors", adapter_metadata(tensors))
    pipe = tiny.flux()
    pipe.load_lora_weights(tmp_path / "mixed.safetensors")
    updates.assert_same(deltas(tensors), updates.of_module(pipe.transformer))


@pytest.mark.parametrize(
    "name, form",
    [
        ("transformer.transformer_blocks.0.attn.to_q.lora_A.weight", "diffusers"),
        ("diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight", "comfyui"),
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", "kohya"),
        ("lora_transformer_transformer_blocks_0_attn_to_q.lora_down.weight", "onetrainer"),
        ("base_model.model.double_blocks.0.img_attn.qkv.lora_A.weight", "peft"),
        ("double_blocks.0.processor.qkv_lora1.down.weight", "xlabs"),
        ("double_blocks.0.img_attn.qkv.lora_A.weight", "native"),
        ("conv.lora_A.weight", "unknown"),
    ],
)
def test_the_form_is_told_by_the_names(name, form):
    assert form_of({name: None}) == form


IDEOGRAM = ["attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0", "feed_forward.w1"]


@pytest.mark.parametrize("kind", ["lokr", "loha", "dora", "oft"])
def test_layers_that_comfyui_does_not_find_under_the_names_of_a_file_are_named(kind):
    note = unread({f"transformer.layers.{block}.{layer}": kind for block in (0, 1) for layer in IDEOGRAM}, "comfyui", "ideogram4")
    assert f"find 4 of the 10 layers of this {kind}" in note.message
    assert "knows attention.to_q, attention.to_k, attention.to_v of Ideogram 4 only as parts" in note.message


@pytest.mark.parametrize(
    "family, layer, kind, form",
    [
        ("ideogram4", "layers.0.attention.to_q", "lora", "comfyui"),  # put together
        ("ideogram4", "layers.0.feed_forward.w1", "lokr", "comfyui"),
        ("ideogram4", "layers.0.attention.to_q", "lokr", "diffusers"),
        ("flux", "transformer_blocks.0.attn.to_q", "lokr", "comfyui"),  # which it knows by diffusers' names
        ("zimage", "layers.0.attention.to_q", "lokr", "kohya"),
        ("pixart_sigma", "transformer_blocks.0.attn1.to_q", "lokr", "comfyui"),
        (None, "layers.0.attention.to_q", "lokr", "diffusers"),
    ],
)
def test_of_layers_that_comfyui_finds_nothing_is_said(family, layer, kind, form):
    assert unread({f"transformer.{layer}": kind}, form, family) is None


def test_parts_that_lie_in_a_file_under_no_name_of_comfyuis_are_the_ones_that_are_named():
    """Of each family: what it is said not to find has a path of diffusers in the file, and what it finds a native one."""
    for family, path, native in (
        ("lumina2", "layers.0.attn.to_k", None), ("lumina2", "layers.0.attn.to_out.0", "layers.0.attention.out"),
        ("pixart_sigma", "transformer_blocks.0.attn1.to_q", None), ("pixart_sigma", "transformer_blocks.0.attn2.to_q", "blocks.0.cross_attn.q_linear"),
        ("auraflow", "norm_out.linear", None), ("auraflow", "proj_out", "final_linear"),
    ):  # fmt: skip
        tensors = {f"transformer.{path}.lokr_w1": torch.ones(2, 2), f"transformer.{path}.lokr_w2": torch.ones(4, 4)}
        (name,) = {name.rsplit(".", 1)[0] for name in to_form(tensors, "kohya", family)}
        assert name == (f"lora_unet_{native.replace('.', '_')}" if native else f"lycoris_{path.replace('.', '_')}")
        assert (unread({f"transformer.{path}": "lokr"}, "kohya", family) is None) == (native is not None)
