"""LTX-2: diffusers' names and those of the original model. In the blocks they are the same."""

from __future__ import annotations

from .rule import Rule

_BLOCK = (
    *(
        f"{attention}.{layer}"
        for attention in ("attn1", "attn2", "audio_attn1", "audio_attn2", "audio_to_video_attn", "video_to_audio_attn")
        for layer in ("to_q", "to_k", "to_v", "to_out.0", "to_gate_logits")
    ),
    *(f"{side}.net.{layer}" for side in ("ff", "audio_ff") for layer in ("0.proj", "2")),
)
_SAME = (
    "proj_out",
    "audio_proj_out",
    *(f"{side}.linear_{number}" for side in ("caption_projection", "audio_caption_projection") for number in (1, 2)),
)
_TIMES = {
    "adaln_single": "time_embed",
    "audio_adaln_single": "audio_time_embed",
    "prompt_adaln_single": "prompt_adaln",
    "audio_prompt_adaln_single": "audio_prompt_adaln",
    "av_ca_video_scale_shift_adaln_single": "av_cross_attn_video_scale_shift",
    "av_ca_audio_scale_shift_adaln_single": "av_cross_attn_audio_scale_shift",
    "av_ca_a2v_gate_adaln_single": "av_cross_attn_video_a2v_gate",
    "av_ca_v2a_gate_adaln_single": "av_cross_attn_audio_v2a_gate",
}
_TIME = ("emb.timestep_embedder.linear_1", "emb.timestep_embedder.linear_2", "linear")

LTX2: tuple[Rule, ...] = (
    *(Rule(name, (name,)) for name in (*(f"transformer_blocks.{{}}.{layer}" for layer in _BLOCK), *_SAME)),
    *(Rule(f"{native}.{layer}", (f"{ours}.{layer}",)) for native, ours in _TIMES.items() for layer in _TIME),
    Rule("patchify_proj", ("proj_in",)),
    Rule("audio_patchify_proj", ("audio_proj_in",)),
)
