"""Train the autoencoder that turns pictures into latents and back.

It knows pictures and nothing else: no captions, no denoiser. Everything drawn follows from (seed, step), so that a run
which was interrupted ends in the same bytes as one which was not. B batch, C channels, H and W height and width.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from ..control import Control, Stopped
from ..data.files.listing import find_pictures
from ..data.files.pictures import decode
from ..errors import JobError
from ..events import Event, Finished, Measured, Phase, Progress, Saved, Step, Warned
from ..jobs.vae import VaeJob, VaeTrain
from ..runs.checkpoints import CheckpointStore, State
from ..runs.folder import RunFolder
from ..runs.log import follow
from ..runtime.device import autocast, pick_device, pick_dtype
from ..runtime.saving import save_part
from ..settings import resolve
from .consent import consent
from .critic import Critic
from .perceptual import Perceptual
from .sameness import pictures_summary, summary

WARMUP_STEPS = 50
LAST_LR = 0.02
"""Share of the learning rate that the cosine ends with."""
MEASURED_PICTURES = 256
"""Held-out pictures that each measurement uses: enough for a tenth of a decibel."""


def train_vae(job: VaeJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """Train on the pictures of ``job.datasets`` and save a diffusers folder whose latents are normalised."""
    settings = job.train
    device = pick_device()
    found = [find_pictures(resolve(dataset.path)) for dataset in job.datasets]
    data, store = pictures_summary(found), CheckpointStore(folder, keep=1, keep_states=1)
    newest, (log, _) = store.latest_values(), follow(folder.events)
    try:
        yield from consent(job, data, newest, log, control)
    except Stopped:
        yield Finished(step=newest.step if newest else 0, reason="stopped")
        return
    yield Phase(name="Loading pictures")
    learned, held_out = yield from load_pictures(job, [path for paths in found for path in paths])
    if not len(held_out):
        yield Warned(message="No picture is held out, so quality is not measured.", hint="Raise train.holdout.")

    yield Phase(name="Loading the autoencoder")
    vae = build(job).to(device)
    if not settings.train_encoder:
        freeze_encoder(vae)
        if settings.differs("kld_weight"):
            yield Warned(message="train.kld_weight has no effect without train_encoder: latents stay as they are.")
    optimizer = torch.optim.AdamW(
        [weight for weight in vae.parameters() if weight.requires_grad], lr=settings.lr, betas=(0.9, 0.95), weight_decay=1e-4
    )
    judges = Judges.of(settings, device)
    state = store.latest()
    start = restore(vae, optimizer, state, judges.critic) if state else 0

    def save(step: int, final: bool) -> Saved:
        now = snapshot(vae, optimizer, step, summary(job, data), judges.critic)
        path = store.save(step, final, lambda target: save_part(vae, target, "fp32"), now)
        return Saved(step=step, path=path.relative_to(folder.path), final=final)

    yield Phase(name="Training")
    step, last_saved, begun = start, start, time.perf_counter()
    for step in range(start + 1, settings.steps + 1):
        loss, lr = train_step(vae, optimizer, learned, step, settings, device, judges)
        now = time.perf_counter()
        yield Step(step=step, total=settings.steps, loss=loss, lr=lr, seconds=now - begun)
        begun = time.perf_counter()
        if len(held_out) and (step % settings.validate_every == 0 or step == settings.steps):
            yield Measured(step=step, name="psnr", value=psnr(vae, held_out, device))
        if step < settings.steps and (control.stop or control.take("save") or step % settings.save_every == 0):
            yield save(step, final=False)
            last_saved = step
        if control.stop and last_saved == step:
            yield Finished(step=step, reason="stopped")
            return

    if settings.train_encoder:
        yield Phase(name="Measuring latents")
        normalise(vae, learned, device)
    yield save(step, final=True)
    yield Finished(step=step)


def build(job: VaeJob) -> AutoencoderKL:
    """The autoencoder of ``vae_path``: random weights of its shape, or its own."""
    path = resolve(job.vae_path)
    if not (path / "config.json").is_file():
        raise JobError(
            f"{job.vae_path} is not an autoencoder: it has no config.json.",
            "Give a folder in diffusers layout.",
        )
    if not job.from_scratch:
        return AutoencoderKL.from_pretrained(path, dtype=torch.float32, local_files_only=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.train.seed)
        return AutoencoderKL.from_config(AutoencoderKL.load_config(path))


def load_pictures(job: VaeJob, paths: list[Path]) -> Generator[Event, None, tuple[Tensor, Tensor]]:
    """All pictures as two uint8 tensors BCHW: those to learn from, and those held out."""
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for done, path in enumerate(paths, 1):
        sides[is_held_out(path, job.train.holdout)].append(read_picture(path, job.train.resolution))
        if done % 2000 == 0 or done == len(paths):
            yield Progress(done=done, total=len(paths), what="pictures")
    if len(sides[0]) == 0:
        raise JobError("No picture is left to learn from.", "Add pictures, or lower train.holdout.")
    return to_tensor(sides[0], job.train.resolution), to_tensor(sides[1], job.train.resolution)


def is_held_out(path: Path, share: float) -> bool:
    """A fixed draw by name. Variants of one picture, ``<picture>__<n>``, are all on the same side."""
    digest = hashlib.sha256(path.stem.split("__")[0].encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


def read_picture(path: Path, resolution: int) -> np.ndarray:
    """HWC uint8, cropped to a square in the middle."""
    return np.asarray(ImageOps.fit(decode(path), (resolution, resolution), Image.Resampling.LANCZOS))


def to_tensor(pictures: list[np.ndarray], resolution: int) -> Tensor:
    if not pictures:
        return torch.empty(0, 3, resolution, resolution, dtype=torch.uint8)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def train_step(
    vae: AutoencoderKL,
    optimizer: torch.optim.Optimizer,
    pictures: Tensor,
    step: int,
    settings: VaeTrain,
    device: torch.device,
    judges: Judges,
) -> tuple[float, float]:
    """One step; its loss and learning rate."""
    rng = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    batch = pictures[torch.randint(len(pictures), (settings.batch_size,), generator=rng)]
    pixels = augmented(as_pixels(batch), rng).to(device)
    for group in optimizer.param_groups:
        group["lr"] = lr = learning_rate(step, settings)
    with autocast(device, pick_dtype(settings.dtype, device)):
        with contextlib.nullcontext() if settings.train_encoder else torch.no_grad():
            posterior = vae.encode(pixels).latent_dist
        # drawn on the CPU, so that the same step draws the same on every device
        noise = torch.randn(posterior.mean.shape, generator=rng).to(device)
        restored = vae.decode(posterior.mean + posterior.std * noise).sample
    loss = reconstruction_loss(restored.float(), pixels, settings)
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    loss = loss + settings.kld_weight * 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    loss = loss + judges.loss(restored.float(), pixels, step, settings)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
    optimizer.step()
    if judges.critic and step > settings.critic_start:
        judges.critic.learn(pixels, restored.float())
    return loss.item(), lr


@dataclass
class Judges:
    """Models that say how well a picture was restored."""

    perceptual: Perceptual | None
    critic: Critic | None

    @classmethod
    def of(cls, settings: VaeTrain, device: torch.device) -> Judges:
        if settings.perceptual_weight and not settings.perceptual_model:
            raise JobError(
                "train.perceptual_weight needs a model that looks.", "Set train.perceptual_model, for example to microsoft/resnet-18."
            )
        looks = settings.perceptual_weight and settings.perceptual_model
        return cls(
            Perceptual(settings.perceptual_model, device) if looks and settings.perceptual_model else None,
            Critic(settings.critic_lr, settings.seed, device) if settings.critic_weight else None,
        )

    def loss(self, restored: Tensor, pixels: Tensor, step: int, settings: VaeTrain) -> Tensor:
        """What they have to say, weighted."""
        loss = torch.zeros((), device=pixels.device)
        if self.perceptual:
            loss = loss + settings.perceptual_weight * self.perceptual(restored, pixels)
        if self.critic and step > settings.critic_start:
            loss = loss + settings.critic_weight * self.critic.against(restored)
        return loss


def freeze_encoder(vae: AutoencoderKL) -> None:
    """What makes latents stays as it is."""
    for part in (vae.encoder, vae.quant_conv):
        if part is not None:
            part.requires_grad_(False)


def augmented(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Half the pictures mirrored; a quarter with swapped and fainter colour channels, so that all colours are met."""
    count = len(pixels)
    mirrored = torch.rand(count, generator=rng) < 0.5
    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
    for index in range(count // 4):
        strength = 0.6 + 0.4 * torch.rand((), generator=rng)
        pixels[index] = pixels[index, torch.randperm(3, generator=rng)] * strength
    return pixels.contiguous()


def reconstruction_loss(restored: Tensor, pixels: Tensor, settings: VaeTrain) -> Tensor:
    """Plain, squared and edge difference, weighted."""
    difference = restored - pixels
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    return settings.mae_weight * difference.abs().mean() + settings.mse_weight * difference.square().mean() + settings.edge_weight * edges


def learning_rate(step: int, settings: VaeTrain) -> float:
    """Warm-up, then a cosine down to a fiftieth."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / settings.steps)))
    return settings.lr * min(1.0, step / WARMUP_STEPS) * (LAST_LR + (1 - LAST_LR) * cosine)


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: Tensor, device: torch.device) -> float:
    """Mean over pictures of the signal-to-noise ratio in dB, from each posterior's mean, in full precision."""
    chosen = spread(pictures, MEASURED_PICTURES)
    ratios = []
    for batch in chosen.split(32):
        pixels = as_pixels(batch).to(device)
        restored = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
        # 4 is the square of the range [-1, 1]; the floor stands for half a grey level
        ratios.append(10 * torch.log10(4 / F.mse_loss(restored, pixels, reduction="none").mean((1, 2, 3)).clamp(min=1e-5)))
    return torch.cat(ratios).mean().item()


@torch.no_grad()
def normalise(vae: AutoencoderKL, pictures: Tensor, device: torch.device) -> None:
    """Write into the configuration what makes latents zero in the mean and one in spread over ``pictures``."""
    means = [vae.encode(as_pixels(batch).to(device)).latent_dist.mean.double() for batch in spread(pictures, 4096).split(64)]
    latents = torch.cat(means)
    vae.register_to_config(shift_factor=latents.mean().item(), scaling_factor=1 / latents.std().item())


def as_pixels(pictures: Tensor) -> Tensor:
    return pictures.float() / 127.5 - 1


def spread(pictures: Tensor, most: int) -> Tensor:
    """At most so many pictures, taken evenly."""
    return pictures[:: max(1, math.ceil(len(pictures) / most))]


def snapshot(vae: AutoencoderKL, optimizer: torch.optim.Optimizer, step: int, told: dict[str, Any], critic: Critic | None = None) -> State:
    tensors = {"weights": weights_of(vae), "optimizer": moments_of(optimizer)}
    if critic:
        tensors |= {"critic": weights_of(critic.model), "critic_optimizer": moments_of(critic.optimizer)}
    return State(step=step, tensors=tensors, values={"told": told})


def weights_of(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def moments_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What it remembers of each weight."""
    return {
        f"{index}.{name}": value.detach().cpu().contiguous()
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore(vae: AutoencoderKL, optimizer: torch.optim.Optimizer, state: State, critic: Critic | None = None) -> int:
    """Put the state back; the step it was taken at."""
    if (critic is not None) != ("critic" in state.tensors):
        raise JobError(
            "This run was started with another train.critic_weight: a critic cannot come or go on the way.",
            "Set it back, or choose another name for a new run.",
        )
    vae.load_state_dict(state.tensors["weights"])
    put_moments(optimizer, state.tensors["optimizer"])
    if critic:
        critic.model.load_state_dict(state.tensors["critic"])
        put_moments(critic.optimizer, state.tensors["critic_optimizer"])
    return state.step


def put_moments(optimizer: torch.optim.Optimizer, kept: dict[str, Tensor]) -> None:
    """The opposite of ``moments_of``."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in kept.items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
