"""The UNets of Stable Diffusion: diffusers' names and those of the original model, block by block.

Three layers a block in both: input_blocks.4 is the first of the second block, output_blocks.3 as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .rule import Rule

_RESNET = {"in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.3": "conv2", "skip_connection": "conv_shortcut"}
_ATTENTION = tuple(f"{attention}.{layer}" for attention in ("attn1", "attn2") for layer in ("to_q", "to_k", "to_v", "to_out.0"))
_TRANSFORMER = (*_ATTENTION, "ff.net.0.proj", "ff.net.2")
_OUTSIDE = {
    "input_blocks.0.0": "conv_in",
    "out.2": "conv_out",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
}


def _resnet(native: str, ours: str) -> Iterator[Rule]:
    for theirs, layer in _RESNET.items():
        yield Rule(f"{native}.{theirs}", (f"{ours}.{layer}",))


def _attention(native: str, ours: str, depth: str) -> Iterator[Rule]:
    for layer in ("proj_in", "proj_out", *(f"transformer_blocks.{depth}.{layer}" for layer in _TRANSFORMER)):
        yield Rule(f"{native}.{layer}", (f"{ours}.{layer}",))


def _unet(blocks: int, attended: Collection[int], depth: str) -> Iterator[Rule]:
    """``attended``: the blocks on the way down that have attention; on the way up it is their mirror image."""
    for block in range(blocks):
        for layer in range(2):
            native, ours = f"input_blocks.{1 + 3 * block + layer}", f"down_blocks.{block}"
            yield from _resnet(f"{native}.0", f"{ours}.resnets.{layer}")
            if block in attended:
                yield from _attention(f"{native}.1", f"{ours}.attentions.{layer}", depth)
        if block < blocks - 1:
            yield Rule(f"input_blocks.{3 + 3 * block}.0.op", (f"down_blocks.{block}.downsamplers.0.conv",))
    yield from _resnet("middle_block.0", "mid_block.resnets.0")
    yield from _attention("middle_block.1", "mid_block.attentions.0", depth)
    yield from _resnet("middle_block.2", "mid_block.resnets.1")
    for block in range(blocks):
        has_attention = blocks - 1 - block in attended
        for layer in range(3):
            native, ours = f"output_blocks.{3 * block + layer}", f"up_blocks.{block}"
            yield from _resnet(f"{native}.0", f"{ours}.resnets.{layer}")
            if has_attention:
                yield from _attention(f"{native}.1", f"{ours}.attentions.{layer}", depth)
        if block < blocks - 1:
            place = 2 if has_attention else 1
            yield Rule(f"output_blocks.{3 * block + 2}.{place}.conv", (f"up_blocks.{block}.upsamplers.0.conv",))
    for theirs, name in _OUTSIDE.items():
        yield Rule(theirs, (name,))


SD: tuple[Rule, ...] = tuple(_unet(4, (0, 1, 2), "0"))
"""1.x and 2.x."""
SDXL: tuple[Rule, ...] = tuple(_unet(3, (1, 2), "{}"))
