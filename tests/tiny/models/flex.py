"""Flex.1."""

from __future__ import annotations

from diffusers import FluxPipeline
from diffusers.models.embeddings import CombinedTimestepTextProjEmbeddings

from ..case import Case, tokens_2x2
from .flux import flux


def unguided(pipe: FluxPipeline) -> None:
    """It is drawn as it is trained: without the guidance embedding."""
    embedding = pipe.transformer.time_text_embed
    plain = CombinedTimestepTextProjEmbeddings(1, 1)
    for part, module in embedding.named_children():
        if part != "guidance_embedder":
            plain.add_module(part, module)
    pipe.transformer.register_to_config(guidance_embeds=False)
    pipe.transformer.time_text_embed = plain


CASES = [Case("flex 1", "flex1", lambda: flux(guidance_embeds=True), unpack=tokens_2x2, targets=17, mend=unguided)]
