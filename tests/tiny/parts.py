"""Parts that tiny pipelines are made of: text encoders, tokenizers, autoencoders."""

from __future__ import annotations

import string

from diffusers import AutoencoderKL
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)
from transformers.models.qwen3 import Qwen3PreTrainedModel

CHAT = (
    "{% for message in messages %}[{{ message['content'] if message['content'] is string else message['content'][0]['text'] }}]"
    "{% endfor %}{% if add_generation_prompt %}>{% endif %}{% if enable_thinking is defined and not enable_thinking %}_{% endif %}"
)
"""A chat template in which a conversation is short."""


def tokenizer(length: int) -> PreTrainedTokenizerFast:
    """One token a character."""
    words = ["<pad>", "<unk>", "</s>", *string.printable]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", model_max_length=length)


def byte_words(marks: list[str]) -> dict[str, int]:
    """The vocabulary of a byte-level tokenizer that knows nothing longer than a byte, after its marks."""
    return {word: index for index, word in enumerate([*marks, *sorted(pre_tokenizers.ByteLevel.alphabet())])}


def clip() -> CLIPTextModel:
    config = CLIPTextConfig(
        hidden_size=32, intermediate_size=37, num_attention_heads=4, num_hidden_layers=2, vocab_size=200,
        projection_dim=32, eos_token_id=2, bos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    return CLIPTextModel(config)


def t5() -> T5EncoderModel:
    return T5EncoderModel(T5Config(d_model=32, d_ff=37, d_kv=8, num_heads=4, num_layers=2, vocab_size=200))


def vae(channels: int) -> AutoencoderKL:
    """Halves a picture's sides once."""
    return AutoencoderKL(
        block_out_channels=(4, 8), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1, latent_channels=channels, norm_num_groups=1, use_quant_conv=False, use_post_quant_conv=False,
        shift_factor=0.06, scaling_factor=1.5,
    )  # fmt: skip


def qwen3(layers: int, hidden: int = 16, kind: type[Qwen3PreTrainedModel] = Qwen3Model) -> Qwen3PreTrainedModel:
    return kind(
        Qwen3Config(
            hidden_size=hidden, intermediate_size=24, num_hidden_layers=layers, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
            vocab_size=200,
        )
    )  # fmt: skip
