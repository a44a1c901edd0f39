"""From sample settings to the pictures that are asked for. Pure."""

from __future__ import annotations

from ..data.captions.text import apply_trigger
from ..families.base import Request
from ..families.defaults import ModelDefaults
from ..jobs import SampleItem, SampleSettings
from ..settings import resolve


def requests_of(settings: SampleSettings, defaults: ModelDefaults, trigger: str | None, multiple: int) -> list[Request]:
    """One request a prompt, every setting filled in; sizes are rounded down to ``multiple`` pixels."""
    items = [*(SampleItem(prompt=prompt) for prompt in settings.prompts), *settings.samples]
    return [_request(item, index, settings, defaults, trigger, multiple) for index, item in enumerate(items)]


def _request(
    item: SampleItem,
    index: int,
    settings: SampleSettings,
    defaults: ModelDefaults,
    trigger: str | None,
    multiple: int,
) -> Request:
    def choose(name: str, fallback: float) -> float:
        return next(v for v in (getattr(item, name), getattr(settings, name), fallback) if v is not None)

    def side(name: str, fallback: int) -> int:
        return max(multiple, int(choose(name, fallback)) // multiple * multiple)

    controls = (item.ctrl_img_1 or item.ctrl_img, item.ctrl_img_2, item.ctrl_img_3)
    return Request(
        prompt=apply_trigger(item.prompt, trigger),
        negative=settings.neg if item.neg is None else item.neg,
        width=side("width", defaults.width),
        height=side("height", defaults.height),
        steps=int(choose("sample_steps", defaults.sample_steps)),
        guidance=choose("guidance_scale", defaults.guidance_scale),
        seed=item.seed if item.seed is not None else settings.seed + (index if settings.walk_seed else 0),
        strength=choose("network_multiplier", 1.0),
        controls=tuple(str(resolve(path)) for path in controls if path),
        frames=int(choose("num_frames", defaults.num_frames)),
        fps=int(choose("fps", defaults.fps)),
    )
