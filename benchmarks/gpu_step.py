"""How fast FLUX.1 learns on this card: its real size with random weights, in each way of holding them.

    python benchmarks/gpu_step.py [--sides 512 1024] [--ways bf16 qfloat8 nf4 offloaded compiled] [--steps 20]
    python benchmarks/gpu_step.py --layers 1 --small        a sign of life on a processor; its figures mean nothing

Seconds a step, the peak of memory while loading and while stepping, and the share of the card's arithmetic that was used (MFU): the
operations that torch counts in one step, recomputation left out, over what the card's maker says of it in bf16 without sparsity. With --write, the table goes into
benchmarks/RESULTS.md under the card's name. LoRA of rank 16, batch 1, gradient checkpointing, AdamW in 8 bits where it is to be had.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from engine import environment  # noqa: E402

environment.prepare()

import torch  # noqa: E402
from diffusers import FluxTransformer2DModel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from engine.families.defaults import ModelDefaults  # noqa: E402
from engine.families.flux import Flux  # noqa: E402
from engine.families.sources import Quantization  # noqa: E402
from engine.jobs import Lora  # noqa: E402
from engine.network.attach import attach  # noqa: E402
from engine.runtime.compiling import compile_blocks  # noqa: E402
from engine.runtime.device import Peak, autocast, pick_device  # noqa: E402
from engine.runtime.offload import offload  # noqa: E402
from engine.runtime.quantize import quantize  # noqa: E402
from engine.training.objectives import Batch, FlowMatching, Regression  # noqa: E402
from engine.training.optimizers import make_optimizer  # noqa: E402

CONFIG = ROOT / "engine" / "families" / "configs" / "flux-dev.json"
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
WAYS = ("bf16", "qfloat8", "nf4", "offloaded", "compiled")
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12, "5090": 210e12, "3090": 71e12}
"""Operations a second in bf16 with fp32 sums, dense, as the makers publish them."""
WORDS = 512


class Bare:
    """The part of a pipeline that ``Flux.predict`` looks at."""

    def __init__(self, transformer: FluxTransformer2DModel):
        self.transformer = transformer


def build(way: str, layers: int | None, small: bool, device: torch.device) -> Flux:
    config = {key: value for key, value in json.loads(CONFIG.read_text()).items() if not key.startswith("_")}
    if layers:
        config |= {"num_layers": layers, "num_single_layers": layers}
    if small:
        config |= {"num_attention_heads": 2, "joint_attention_dim": 256, "pooled_projection_dim": 64}
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cpu" if way == "offloaded" else device):
            model = FluxTransformer2DModel.from_config(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model.requires_grad_(False).enable_gradient_checkpointing()
    if way in {"qfloat8", "nf4"}:
        tell(quantize(model, Quantization(way, low_vram=True), device, "transformer"))
    if way == "offloaded":
        offload(model, 1.0, device)
    if way == "compiled":
        tell(compile_blocks(model, device))
    return Flux(Bare(model.train()), ModelDefaults(), ROOT)


def tell(events) -> None:
    for event in events:
        if event.kind == "warned":
            print(event.message)


def measure(way: str, side: int, options: argparse.Namespace, device: torch.device) -> tuple[str, ...]:
    peak = Peak(device)
    torch.manual_seed(0)
    family = build(way, options.layers, options.small, device)
    network = attach(Lora(rank=16), {"transformer": family.denoiser}, family.lora_targets, family="flux")
    family.denoiser.to(device)
    loading = peak.take()
    optimizer = make_optimizer("adamw8bit", network.parameters(), 1e-4, {}, device)
    rng, objective = torch.Generator(device).manual_seed(0), Regression(FlowMatching())
    latent = torch.randn(1, 16, side // 8, side // 8, device=device, dtype=torch.bfloat16)
    config = family.denoiser.config
    words = {
        "prompt_embeds": torch.randn(1, WORDS, config.joint_attention_dim, device=device, dtype=torch.bfloat16),
        "pooled_prompt_embeds": torch.randn(1, config.pooled_projection_dim, device=device, dtype=torch.bfloat16),
    }
    batch = Batch(latent, torch.zeros_like(latent), words)

    def step() -> None:
        with autocast(device, torch.bfloat16):
            loss = objective.loss(family, batch, rng)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    operations = count(family, batch, objective, rng, device) if way == "bf16" else 0
    times = []
    for _ in range(3 + options.steps):
        wait()
        begin = time.perf_counter()
        step()
        wait()
        times.append(time.perf_counter() - begin)
    seconds = statistics.median(times[3:])
    measure.operations[side] = operations or measure.operations.get(side, 0)
    most = next((value for name, value in PEAKS.items() if device.type == "cuda" and name in torch.cuda.get_device_name(device)), None)
    used = f"{measure.operations[side] / seconds / most:.0%}" if most and measure.operations[side] else "not known"
    return way, str(side), f"{seconds:.3f}", f"{loading / 2**30:.1f}", f"{peak.take() / 2**30:.1f}", used


measure.operations = {}


def count(family: Flux, batch: Batch, objective: Regression, rng: torch.Generator, device: torch.device) -> int:
    """Operations of one step without recomputation: of the weights forward once, and backward once towards the inputs."""
    with torch.no_grad(), autocast(device, torch.bfloat16), FlopCounterMode(display=False) as counter:
        objective.loss(family, batch, rng)
    return 2 * counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--layers", type=int, help="blocks of each kind, instead of 19 and 38")
    parser.add_argument("--small", action="store_true", help="two heads")
    parser.add_argument("--write", action="store_true", help="add the table to benchmarks/RESULTS.md")
    options = parser.parse_args()
    device = pick_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a processor"
    lines = [f"## FLUX.1, a LoRA of rank 16, batch 1: {name}, torch {torch.__version__}", ""]
    lines += ["| weights | side | s a step | GB, loading | GB, stepping | MFU |", "|---|---|---|---|---|---|"]
    for side in options.sides:
        for way in options.ways:
            try:
                row = measure(way, side, options, device)
            except torch.OutOfMemoryError:
                row = (way, str(side), "out of memory", "", "", "")
            lines.append(f"| {' | '.join(row)} |")
            print(lines[-1], flush=True)
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
    if options.write:
        before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Measured\n"
        RESULTS.write_text("\n".join([before, *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
