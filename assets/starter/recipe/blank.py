"""The pipeline before it has learnt anything: FLUX's classes at icon size, random weights, and word vectors that know English.

Words come from a vocabulary of 8,192 pieces, each with a frozen vector from MiniLM: near words are near before training,
so that a caption's neighbour ("kitten") is half known. Everything else is random.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    BertModel,
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from .emoji import every_emoji
from .pictures import read_pictures
from .sources import Sources

SEED = 42
PIECES = 8192
WIDTH = 256
TOKENS = 16
SPECIAL = ("[PAD]", "[UNK]", "[BOS]", "</s>")
PAD, UNKNOWN, BEGIN, END = range(4)
CLIP_SCALE = 0.1
"""CLIP adds position vectors of about this size; larger word vectors would drown them."""
EVERYDAY = """
a an the of in on with and or to for by from at over under behind beside photo picture image drawing painting sketch icon emoji
sticker style blueprint watercolor pixel art toy sks car cars red green blue yellow orange purple pink brown black white grey gray
gold silver teal turquoise cyan magenta violet cute big small tiny large old new happy sad angry dog cat light dark pale bright
background gradient pattern plain simple cartoon neon ink line lines paper shiny
""".split()


def make_blank(sources: Sources, pictures: Path, folder: Path) -> None:
    """Write the pipeline to ``folder``, in diffusers layout, with ``darkroom.json`` beside it."""
    torch.manual_seed(SEED)
    pieces = vocabulary(sources, pictures)
    vectors = word_vectors(pieces, sources.word_vectors)
    tokenizer = make_tokenizer(pieces)
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=make_vae(),
        text_encoder=make_clip(vectors),
        tokenizer=tokenizer,
        text_encoder_2=make_t5(vectors),
        tokenizer_2=tokenizer,
        transformer=make_transformer(),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    shutil.copyfile(Path(__file__).parent.parent / "darkroom.json", folder / "darkroom.json")


def with_vae(folder: Path, trained: Path) -> None:
    """Put the trained VAE into the blank pipeline."""
    for file in trained.iterdir():
        shutil.copy2(file, folder / "vae" / file.name)  # with its time: caches of latents stay good


def make_vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 48, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        sample_size=64,
        scaling_factor=1.0,
        shift_factor=0.0,
    )


def make_transformer() -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=64,
        num_attention_heads=4,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(8, 28, 28),
    )


def make_t5(vectors: torch.Tensor) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(vectors),
        d_model=WIDTH,
        d_kv=64,
        num_heads=4,
        d_ff=512,
        num_layers=2,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        pad_token_id=PAD,
        eos_token_id=END,
        relative_attention_num_buckets=16,
        relative_attention_max_distance=32,
    )
    encoder = T5EncoderModel(config)
    encoder.get_input_embeddings().weight.data.copy_(vectors)
    return encoder


def make_clip(vectors: torch.Tensor) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(vectors),
        hidden_size=WIDTH,
        intermediate_size=512,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        projection_dim=WIDTH,
        pad_token_id=PAD,
        bos_token_id=BEGIN,
        eos_token_id=END,
    )
    encoder = CLIPTextModel(config)
    encoder.get_input_embeddings().weight.data.copy_(vectors * CLIP_SCALE)
    return encoder


def vocabulary(sources: Sources, pictures: Path) -> list[str]:
    """Special pieces, letters, every word that a caption can hold, then MiniLM's own pieces until it is full.

    Words of the held-out concept are in it too: they can be said, only their pictures were never shown.
    """
    said = set(EVERYDAY)
    for emoji in every_emoji(sources):
        said.update(emoji.label.split(), *(tag.split() for tag in emoji.tags))
    for picture in read_pictures(pictures):
        said.update(picture.caption.split())
    letters = [piece for letter in "abcdefghijklmnopqrstuvwxyz0123456789" for piece in (letter, f"##{letter}")]
    common = (sources.word_vectors / "vocab.txt").read_text(encoding="utf-8").splitlines()[999:]
    common = [piece for piece in common if re.fullmatch(r"(##)?[a-z0-9]+", piece)]
    return list(dict.fromkeys([*SPECIAL, *letters, *sorted(said), *common]))[:PIECES]


def make_tokenizer(pieces: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token=SPECIAL[UNKNOWN]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    end = SPECIAL[END]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, END)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[PAD],
        unk_token=SPECIAL[UNKNOWN],
        eos_token=end,
        model_max_length=TOKENS,
        padding_side="right",
    )


@torch.no_grad()
def word_vectors(pieces: list[str], folder: Path) -> torch.Tensor:
    """MiniLM's reading of each piece alone, pressed to ``WIDTH`` numbers by PCA, at unit spread."""
    tokenizer, reader = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    read = []
    for start in range(0, len(pieces), 128):
        batch = tokenizer([piece.removeprefix("##") for piece in pieces[start : start + 128]], padding=True, return_tensors="pt")
        states, mask = reader(**batch).last_hidden_state, batch["attention_mask"][..., None].float()
        read.append(F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1))
    vectors = torch.cat(read)
    vectors = vectors - vectors.mean(0)
    _, _, directions = torch.pca_lowrank(vectors, q=WIDTH, center=False, niter=4)
    pressed = vectors @ directions
    pressed = pressed / pressed.std()
    pressed[: len(SPECIAL)] = torch.randn(len(SPECIAL), WIDTH)
    return pressed
