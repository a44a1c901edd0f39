"""Textual inversion: a new word learns, nothing else of the text encoders does, and stock diffusers reads the file as it was trained."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import TextualInversionLoaderMixin
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from engine.control import Control
from engine.events import Event
from engine.execute import execute
from engine.families.base import ModelFamily
from engine.families.catalog import load_family
from engine.families.defaults import ModelDefaults
from engine.jobs import Embedding, TrainJob, load_job
from engine.network.embedding import EmbeddingNetwork
from engine.runs.folder import RunFolder
from engine.tools import inspect_lora

CASES = {case.name: case for case in tiny.CASES}
KEYS = {
    "sd15": {"text_encoder": "emb_params"},
    "sdxl": {"text_encoder": "clip_l", "text_encoder_2": "clip_g"},
    "sd35": {"text_encoder": "clip_l", "text_encoder_2": "clip_g", "text_encoder_3": "t5xxl"},
    "flux": {"text_encoder": "clip_l", "text_encoder_2": "t5xxl"},
}
"""Family → its text encoders, and what their vectors are called in ComfyUI's and A1111's files."""
WORD = "zqcat"


class Bed:
    """A tiny base model and two pictures of what the word means."""

    def __init__(self, name: str, root: Path):
        self.case, self.root = CASES[name], root
        self.base = tiny.save(self.case.make(), root / "base", family=self.case.family)
        (root / "data").mkdir()
        for index, colour in enumerate(("red", "blue")):
            Image.new("RGB", (48, 32), colour).save(root / "data" / f"{index}.png")
            (root / "data" / f"{index}.txt").write_text(f"a {colour} [trigger]")

    def job(self, **changes) -> TrainJob:
        data = {
            "name": "tiny",
            "model": {"name_or_path": str(self.base), "arch": self.case.family},
            "embedding": {"trigger": WORD, "tokens": 3, "init_words": "ab"},
            "datasets": [{"path": str(self.root / "data"), "caption_dropout_rate": 0.3}],
            "train": {"steps": 4, "lr": 1e-2, "optimizer": "adamw"},
            "sample": {"sample_every": 4, "prompts": ["[trigger] at dawn"], "width": 48, "height": 32, "format": "png"},
            "save": {"save_every": None, "dtype": "fp32", "format": "comfyui"},
        }
        return load_job(
            {**data, **{key: value if not isinstance(value, dict) else {**data.get(key, {}), **value} for key, value in changes.items()}}
        )

    def run(self, root: str, stop: int | None = None, **changes) -> tuple[Path, list[Event]]:
        """The run's folder, and what it told."""
        job, control, events = self.job(**changes), Control(), []
        folder = RunFolder.create(self.root / root, job, exist_ok=True)
        for event in execute(job, folder, control):
            folder.append(event)
            events.append(event)
            control.stop = control.stop or (event.kind == "step" and event.step == stop)
        assert events[-1].kind == "finished", events[-1]
        return folder.path, events

    def family(self) -> ModelFamily:
        kind = load_family(self.case.family)
        pipe = kind.pipeline_class.from_pretrained(self.base, local_files_only=True)
        return kind(pipe, ModelDefaults.model_validate(tiny.DEFAULTS), self.base)


@pytest.fixture(scope="module", params=list(KEYS))
def bed(request, tmp_path_factory) -> Bed:
    return Bed(request.param, tmp_path_factory.mktemp(request.param))


def features(family: ModelFamily, prompt: str = f"a {WORD} at dawn") -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return family.encode_prompts([prompt])


def read_by_diffusers(pipe: DiffusionPipeline, file: Path, keys: dict[str, str]) -> None:
    """As its documentation says: each encoder's vectors into that encoder."""
    tensors = load_file(file)
    if not isinstance(pipe, TextualInversionLoaderMixin):  # SD 3's pipeline has no loader: the one of the others is lent to it
        pipe.__class__ = type("WithLoader", (TextualInversionLoaderMixin, type(pipe)), {})
    for part, key in keys.items():
        tokenizer = getattr(pipe, part.replace("text_encoder", "tokenizer"))
        pipe.load_textual_inversion(tensors[key], token=WORD, text_encoder=getattr(pipe, part), tokenizer=tokenizer)


def test_stock_diffusers_reads_the_file_and_then_prompts_as_they_were_trained(bed):
    folder, events = bed.run("whole")
    keys = KEYS[bed.case.name]
    tensors = load_file(folder / "tiny.safetensors")
    assert {name: len(tensor) for name, tensor in tensors.items()} == dict.fromkeys(keys.values(), 3)
    assert not [event for event in events if event.kind == "warned"], events

    ours, stock = bed.family(), bed.family()
    EmbeddingNetwork(bed.job().embedding, ours).load(folder / "tiny.safetensors")
    read_by_diffusers(stock.pipe, folder / "tiny.safetensors", keys)
    prompt = stock.pipe.maybe_convert_prompt(f"a {WORD} at dawn", stock.pipe.tokenizer)
    plain, found, trained = (
        features(bed.family()),
        features(stock, prompt if bed.case.name == "sd35" else f"a {WORD} at dawn"),
        features(ours),
    )
    for name, tensor in found.items():
        torch.testing.assert_close(trained[name], tensor, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(plain["prompt_embeds"], found["prompt_embeds"], atol=1e-3)
    for text in ("a house", "", "zq cat"):  # nothing else is read differently
        assert all(
            torch.equal(one, other) for one, other in zip(features(ours, text).values(), features(bed.family(), text).values(), strict=True)
        )


def test_only_the_new_rows_learn_and_the_tables_stay_bit_for_bit(bed):
    family = bed.family()
    before = {part: getattr(family.pipe, part).get_input_embeddings().weight.detach().clone() for part in KEYS[bed.case.name]}
    network = EmbeddingNetwork(Embedding(trigger=WORD, tokens=3, init_words="ab"), family)
    first = {name: tensor.clone() for name, tensor in network.state_tensors().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)
    sum(tensor.square().mean() for tensor in family.encode_prompts([f"a {WORD}"]).values()).backward()
    optimizer.step()
    for part, table in before.items():
        encoder = getattr(family.pipe, part)
        assert torch.equal(encoder.get_input_embeddings().weight, table)
        learning = [name for name, weight in encoder.named_parameters() if weight.requires_grad]
        assert len(learning) == 1 and all(weight.grad is None for weight in encoder.parameters() if not weight.requires_grad)
        assert torch.equal(first[f"{part}.embedding"], table[_ids(family, part)])  # a a b: spread over the vectors
        moved = (network.state_tensors()[f"{part}.embedding"] - first[f"{part}.embedding"]).abs().amax(dim=1)
        assert bool((moved > 0).all())  # each of the word's vectors is read


def _ids(family: ModelFamily, part: str) -> list[int]:
    a, b = getattr(family.pipe, part.replace("text_encoder", "tokenizer"))("ab", add_special_tokens=False).input_ids
    return [a, a, b]


def test_disabled_and_scaled_lie_between_the_first_words_and_what_was_learned(bed):
    family = bed.family()
    network = EmbeddingNetwork(Embedding(trigger=WORD, tokens=2, init_words="ab"), family)
    first = features(family)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator))
    learned = features(family)
    assert not torch.allclose(first["prompt_embeds"], learned["prompt_embeds"], atol=1e-3)
    for inside in (network.disabled(), network.scaled(0)):
        with inside:
            assert all(torch.equal(one, other) for one, other in zip(features(family).values(), first.values(), strict=True))
    with network.scaled(0.5):
        half = features(family)["prompt_embeds"]
        assert not torch.allclose(half, first["prompt_embeds"], atol=1e-4) and not torch.allclose(half, learned["prompt_embeds"], atol=1e-4)
    with pytest.raises(ZeroDivisionError), network.scaled(3):
        1 / 0
    assert torch.equal(features(family)["prompt_embeds"], learned["prompt_embeds"])


def test_a_stopped_run_goes_on_to_the_same_bytes_with_an_average_of_the_vectors(bed):
    ema = {"train": {"ema_config": {"use_ema": True}, "embedding_lr": 3e-2}}
    whole, _ = bed.run("one", **ema)
    bed.run("two", stop=2, **ema)
    halves, _ = bed.run("two", **ema)
    assert (whole / "tiny.safetensors").read_bytes() == (halves / "tiny.safetensors").read_bytes()
    for sample in (whole / "samples").iterdir():
        assert sample.read_bytes() == (halves / "samples" / sample.name).read_bytes()


@pytest.fixture(scope="module")
def sd15(tmp_path_factory) -> Bed:
    return Bed("sd15", tmp_path_factory.mktemp("alone"))


def test_together_with_a_lora_each_has_a_file_of_its_own(sd15):
    lora = {"network": {"type": "lora", "rank": 2}, "save": {"format": "auto", "save_every": 2, "max_step_saves_to_keep": 0}}
    folder, _ = sd15.run("both", **lora)
    files = {path.name for path in folder.glob("*.safetensors")}
    assert files == {"tiny.safetensors", "tiny_embedding.safetensors"}  # those of the step between are gone, both of them
    assert all("lora_" in name or name.endswith(".alpha") for name in load_file(folder / "tiny.safetensors"))
    assert list(load_file(folder / "tiny_embedding.safetensors")) == ["emb_params"]
    bed_alone, _ = sd15.run("alone")
    assert not torch.equal(
        load_file(folder / "tiny_embedding.safetensors")["emb_params"], load_file(bed_alone / "tiny.safetensors")["emb_params"]
    )
    sd15.run("halves", stop=2, **lora)
    halves, _ = sd15.run("halves", **lora)
    for name in files:
        assert (folder / name).read_bytes() == (halves / name).read_bytes()


def test_in_the_diffusers_form_the_file_is_read_by_its_name_alone(sd15):
    folder, _ = sd15.run("named", save={"format": "diffusers"})
    pipe = sd15.family().pipe
    pipe.load_textual_inversion(folder / "tiny.safetensors")
    assert pipe.tokenizer.tokenize(f"a{WORD}") == ["a", WORD] and f"{WORD}_2" in pipe.tokenizer.get_vocab()


def test_the_vectors_have_a_rate_of_their_own(sd15):
    slow, _ = sd15.run("slow", train={"embedding_lr": 1e-6}, network={"type": "lora", "rank": 2})
    start = EmbeddingNetwork(sd15.job().embedding, sd15.family()).state_tensors()["text_encoder.embedding"]
    moved = (load_file(slow / "tiny_embedding.safetensors")["emb_params"] - start).abs().max()
    assert 0 < moved < 1e-5


def test_the_file_says_its_word_and_is_known_to_the_inspector(sd15):
    folder, _ = sd15.run("said")
    with safe_open(folder / "tiny.safetensors", "pt") as file:
        texts = file.metadata()
    assert texts["modelspec.trigger_phrase"] == WORD and texts["modelspec.architecture"].endswith("/textual-inversion")
    report = inspect_lora(folder / "tiny.safetensors")
    assert (report.kind, report.trigger, report.layers) == ("embedding", WORD, 3)


@pytest.mark.parametrize("form", ["comfyui", "diffusers"])
def test_a_generate_job_draws_with_its_file_as_the_run_did(bed, form, tmp_path):
    folder, _ = bed.run(f"drawn {form}", save={"format": form})
    file = str(folder / "tiny.safetensors")
    sample = {"prompts": [f"{WORD} at dawn"], "width": 48, "height": 32, "format": "png"}
    model = {"name_or_path": str(bed.base), "arch": bed.case.family}
    job = load_job(
        {"kind": "generate", "name": "sheet", "model": model, "loras": [{"path": file}, {"path": file, "label": "again"}], "sample": sample}
    )
    sheet = RunFolder.create(tmp_path, job)
    events = list(execute(job, sheet, Control()))
    assert events[-1].kind == "finished", events[-1]
    without, drawn, again = (numpy.asarray(Image.open(sheet.path / event.path), int) for event in events if event.kind == "sampled")
    preview = numpy.asarray(Image.open(sorted((folder / "samples").iterdir())[-1]), int)
    assert abs(drawn - preview).max() <= 1 and (drawn == again).all() and (without != drawn).any()


@pytest.mark.parametrize(
    "more",
    [{"network": {"type": "lora", "rank": 2}}, {"embedding": None, "decorator": {"num_tokens": 2}}, {"decorator": {"num_tokens": 2}}],
)
def test_what_was_learned_together_is_drawn_together(sd15, more, tmp_path):
    folder, _ = sd15.run(f"side {len(more)} {'network' in more}", **more, save={"format": "diffusers"}, train={"lr": 0.1})
    sample = {"prompts": [f"{WORD if more.get('embedding', 1) else '[trigger]'} at dawn"], "width": 48, "height": 32, "format": "png"}
    model = {"name_or_path": str(sd15.base), "arch": "sd15"}
    job = load_job(
        {
            "kind": "generate",
            "name": "sheet",
            "model": model,
            "loras": [{"path": str(folder / "tiny.safetensors")}, {"path": str(folder / "tiny.safetensors"), "strength": 0}],
            "sample": sample,
        }
    )
    sheet = RunFolder.create(tmp_path, job)
    events = list(execute(job, sheet, Control()))
    assert events[-1].kind == "finished", events[-1]
    without, drawn, off = (numpy.asarray(Image.open(sheet.path / event.path), int) for event in events if event.kind == "sampled")
    preview = numpy.asarray(Image.open(sorted((folder / "samples").iterdir())[-1]), int)
    assert abs(drawn - preview).max() <= 1 and (without != drawn).any() and (without == off).all()


def failed(bed: Bed, **changes) -> Event:
    job = bed.job(**changes)
    return list(execute(job, RunFolder.create(bed.root / "bad", job, exist_ok=True), Control()))[-1]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"embedding": {"trigger": "a"}}, "'a' is a word that the text encoder has already"),
        ({"network": {"type": "full"}}, "embedding does not go together with network.type full"),
        ({"embedding": None, "network": {"type": "none"}}, "Nothing is trained"),
        ({"embedding": {"trigger": "zqx"}, "trigger_word": "other"}, "No caption has the word zqx"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(sd15, changes, words):
    event = failed(sd15, **changes)
    assert event.kind == "failed" and words in event.message and event.hint
