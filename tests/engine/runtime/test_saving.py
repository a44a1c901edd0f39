"""Models written as folders: what a stranger who is given one can read in it."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from engine.runtime.saving import save_part


@pytest.mark.parametrize("kind", ["diffusers", "transformers"])
def test_a_folder_says_what_is_in_it_and_not_where_it_came_from(tmp_path, kind):
    small = CLIPTextConfig(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    made = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4) if kind == "diffusers" else CLIPTextModel(small)
    made.save_pretrained(tmp_path / "a person's folder")
    loaded = type(made).from_pretrained(tmp_path / "a person's folder")
    save_part(loaded, tmp_path / "saved", "fp16")
    text = (tmp_path / "saved" / "config.json").read_text(encoding="utf-8")
    assert "a person's folder" not in text
    (file,) = (tmp_path / "saved").glob("*.safetensors")
    assert {tensor.dtype for tensor in load_file(file).values() if tensor.is_floating_point()} == {torch.float16}
    again = type(made).from_pretrained(tmp_path / "saved")
    assert again.dtype == torch.float32  # told nothing, both libraries open it in the same precision
    assert all(torch.allclose(again.state_dict()[name], weight, atol=1e-3) for name, weight in made.state_dict().items())
