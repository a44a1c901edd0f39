"""AI Toolkit's networks as ours, and what is trained without one."""

from __future__ import annotations

from ai_toolkit import changed, flux, read

from engine.jobs import Dora, Full, Lokr, Lora


def test_each_kind_of_network_takes_the_keys_that_it_has() -> None:
    """The files of AI Toolkit's pages carry them all, whatever the kind is."""
    all_keys = {"linear": 16, "linear_alpha": 16, "conv": 8, "conv_alpha": 4, "lokr_full_rank": True, "lokr_factor": -1, "dropout": 0.1}
    job, notes = read(changed("network", type="lokr", **all_keys))
    assert job.network == Lokr() and "network.dropout" in notes and "network.conv" in notes
    job, _ = read(changed("network", type="lokr", **all_keys | {"lokr_full_rank": False, "lokr_factor": 8}))
    assert job.network == Lokr(lokr_full_rank=False, rank=16, lokr_factor=8)
    job, _ = read(changed("network", type="dora", **all_keys))
    assert job.network == Dora(rank=16, dropout=0.1)
    data = changed("network", **all_keys)
    data["config"]["process"][0]["model"]["arch"] = "sdxl"
    data["config"]["process"][0]["model"].pop("is_flux", None)
    job, notes = read(data)
    assert job.network == Lora(rank=16, alpha=16, conv=8, conv_alpha=4, dropout=0.1) and "network.conv" not in notes


def test_without_a_network_all_weights_are_trained() -> None:
    data = flux()
    del data["config"]["process"][0]["network"]
    assert read(data)[0].network == Full()


def test_alpha_counts_only_where_it_counts_there() -> None:
    job, notes = read(changed("network", linear_alpha=1))
    assert job.network == Lora(rank=16) and notes.count("linear_alpha") == 0
    job, notes = read(changed("network", linear_alpha=8))
    assert job.network == Lora(rank=16) and "network.linear_alpha is ignored" in notes
    data = changed("network", linear_alpha=8)
    data["config"]["process"][0]["model"] = {"name_or_path": "x", "is_xl": True}
    job, _ = read(data)
    assert job.model.arch == "sdxl" and job.network == Lora(rank=16, alpha=8)


def test_patterns_of_layers_lose_the_prefix_that_our_names_lack() -> None:
    job, notes = read(
        changed(
            "network", network_kwargs={"only_if_contains": ["transformer.single_transformer_blocks.7.", "to_q"], "parameter_threshold": 10}
        )
    )
    assert isinstance(job.network, Lora) and job.network.only_if_contains == ["single_transformer_blocks.7.", "to_q"]
    assert "network.network_kwargs.parameter_threshold is not supported yet" in notes


def test_what_is_left_out_of_a_network_at_random_is_taken_over() -> None:
    job, notes = read(
        changed("network", network_kwargs={"rank_dropout": 0.1, "module_dropout": 0.2}, transformer_only=False, pretrained_lora_path="x")
    )
    assert (job.network.rank_dropout, job.network.module_dropout, job.network.transformer_only, job.network.pretrained_lora_path) == (
        0.1,
        0.2,
        False,
        "x",
    )
    assert "network_kwargs" not in notes


def test_an_embedding_is_trained_alone_unless_there_is_a_network() -> None:
    word = {"trigger": "p3r5on", "tokens": 8, "init_words": "woman", "save_format": "pt"}
    job, notes = read(flux(network=None, embedding=word))
    assert job.network.type == "none" and job.embedding.model_dump() == {"trigger": "p3r5on", "tokens": 8, "init_words": "woman"}
    assert job.datasets[0].default_caption == "[trigger]" and "embedding.save_format pt is left out" in notes
    beside, _ = read(flux(embedding=word, decorator={"num_tokens": 2}))
    assert beside.network.type == "lora" and beside.embedding and beside.decorator.num_tokens == 2
    assert read(changed("train", embedding_lr=1e-3))[0].train.embedding_lr is None  # its app always writes one
    assert read(flux(embedding=word, train={"embedding_lr": 1e-3}))[0].train.embedding_lr == 1e-3
