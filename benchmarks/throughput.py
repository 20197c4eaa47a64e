"""Images per second of distgan's step beside a textbook PyTorch loop of the same networks.

The textbook loop is that of PyTorch's DCGAN example: D on reals, D on detached fakes, one
backward each, Adam as it comes; G through the updated D with the same z; the losses read
every step. Both sides compute the same update from the same batches in memory. distgan's
side is its step with the process settings of its workers.

    python -m benchmarks.throughput --threads 1 --threads 2
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy, relu

from benchmarks.turns import Side, Work, interleave, ratio
from distgan.allocator import keep_freed_memory
from distgan.config import Config
from distgan.networks import ImageShape
from distgan.networks.linear import Linear
from distgan.networks.spectral import spectral_norms
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.settings import override
from distgan.state import TrainingState
from distgan.step import Batch, adversarial_step

_BATCHES = 8


@dataclass(frozen=True)
class Workload:
    """Networks, images and batch of a comparison; FLOPs are those of the textbook loop."""

    about: str
    image: ImageShape
    batch: int
    flops: float
    network: str
    loss: str = "non-saturating"

    @property
    def config(self) -> Config:
        """The same as a configuration."""
        names = {f"{side}.network.name": self.network for side in ("generator", "discriminator")}
        changes: dict[str, Any] = {**names, "batch": self.batch, "loss": self.loss}
        return override(recipe("mnist-mlp"), {**changes, "share_fakes": True})


WORKLOADS = {
    "W1": Workload("tutorial's MLP, 28x28x1", ImageShape(1, 28, 28), 128, 17.6e6, "mlp"),
    "W2": Workload("DCGAN, 32x32x1", ImageShape(1, 32, 32), 128, 410e6, "dcgan"),
    "W3": Workload("DCGAN, 64x64x3", ImageShape(3, 64, 64), 64, 2482e6, "dcgan"),
    "W4": Workload(
        "SNGAN ResNet, 32x32x3", ImageShape(3, 32, 32), 64, 8956e6, "sngan", loss="hinge"
    ),
}
"""FLOPs per real image as counted for these networks, forward and backward of both."""


def _batches(workload: Workload, config: Config) -> list[Batch]:
    torch.manual_seed(1)
    n = workload.batch
    return [
        Batch(
            real=torch.rand(n, *workload.image).mul_(2).sub_(1),
            labels=None,
            discriminator_latent=torch.randn(n, config.latent),
            generator_latent=torch.randn(n, config.latent),
        )
        for _ in range(_BATCHES)
    ]


def textbook(name: str, threads: int) -> Work:
    """The loop that a reader of tutorials writes."""
    torch.set_num_threads(threads)
    workload = WORKLOADS[name]
    config = workload.config
    generator = config.generator.network.build(workload.image, config.latent, 0)
    discriminator = config.discriminator.network.build(workload.image, 0)
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999))
        for net in (generator, discriminator)
    ]
    batches, turn = _batches(workload, config), iter(range(10**9))
    norms = spectral_norms(discriminator)

    def judge(images: torch.Tensor, target: float, generating: bool = False) -> torch.Tensor:
        # torch's spectral norm iterates in every forward.
        for norm in norms:
            norm.advance()
        logits = discriminator(images)
        if workload.loss == "hinge":
            return -logits.mean() if generating else relu(1 - (2 * target - 1) * logits).mean()
        return binary_cross_entropy(logits.sigmoid(), torch.full_like(logits, target))

    def work() -> int:
        batch = batches[next(turn) % _BATCHES]
        discriminator.zero_grad()
        on_real = judge(batch.real, 1.0)
        on_real.backward()
        fake = generator(batch.generator_latent)
        on_fake = judge(fake.detach(), 0.0)
        on_fake.backward()
        optimizers[1].step()
        generator.zero_grad()
        fooled = judge(fake, 1.0, generating=True)
        fooled.backward()
        optimizers[0].step()
        _ = (on_real + on_fake).item(), fooled.item()
        return workload.batch

    return work


def ours(name: str, threads: int, precision: str, compiled: str = "off") -> Work:
    """distgan's step, with what its workers set for their process."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    workload = WORKLOADS[name]
    config = override(workload.config, {"precision": precision, "compile": compiled})
    state = TrainingState(config, workload.image, 0, World())
    batches, turn = _batches(workload, config), iter(range(10**9))
    for number, batch in enumerate(batches):
        real = batch.real.contiguous(memory_format=torch.channels_last)
        batches[number] = Batch(real, None, batch.discriminator_latent, batch.generator_latent)

    def work() -> int:
        batch = batches[next(turn) % _BATCHES]
        state.statistics.add(
            adversarial_step(state.generator, state.discriminator, state.rule, [batch])
        )
        return workload.batch

    return work


def peak(threads: int, dtype: str) -> float:
    """FLOP/s of large matrix multiplications: the best of several, by MKL or oneDNN."""
    torch.set_num_threads(threads)
    a = torch.rand(2048, 2048).to(getattr(torch, dtype))
    layer, times = Linear(2048, 2048, bias=False), []
    for _ in range(8):
        start = time.perf_counter()
        layer(a) if dtype == "float32" else a @ a
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times)


def profile(name: str, precision: str) -> None:
    """Print where the time of our step goes, on one thread."""
    work = ours(name, 1, precision)
    for _ in range(3):
        work()
    with torch.profiler.profile() as found:
        for _ in range(5):
            work()
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=14))


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="[all]")
    parser.add_argument("--threads", action="append", type=int, help="[1 and 2]")
    parser.add_argument("--compile", action="store_true", help="compiled sides too")
    parser.add_argument("--turns", type=int, default=9, help="turns of each side [9]")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a turn [4]")
    parser.add_argument("--profile", action="store_true", help="where our time goes, instead")
    parser.add_argument("--json", metavar="FILE", help="every turn")
    options = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    for name in options.workload or WORKLOADS:
        if options.profile:
            for precision in ("float32", "bf16"):
                print(f"{name}, {precision}")
                profile(name, precision)
            continue
        for threads in options.threads or (1, 2):
            sides = {
                "textbook": Side(textbook, name, threads),
                "float32": Side(ours, name, threads, "float32"),
                "bf16": Side(ours, name, threads, "bf16"),
            }
            for precision in ("float32", "bf16") if options.compile else ():
                sides[f"{precision} compiled"] = Side(ours, name, threads, precision, "on")
            turns = found[f"{name}, {threads}"] = interleave(sides, options.turns, options.seconds)
            _print(name, threads, turns)
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


def _print(name: str, threads: int, turns: dict[str, list[float]]) -> None:
    rates = {"textbook": peak(threads, "float32"), "bf16": peak(threads, "bfloat16")}
    rates["float32"] = rates["textbook"]
    print(f"\n{name} ({WORKLOADS[name].about}), {threads} thread{'s' * (threads > 1)}")
    for side, speeds in turns.items():
        speed = statistics.median(speeds)
        middle, low, high = ratio(turns, side, "textbook")
        rate = rates[side.split()[0]]
        share = speed * WORKLOADS[name].flops / rate
        print(
            f"  {side:<16} {speed:10,.1f} images/s   {middle:5.2f} ({low:.2f}-{high:.2f})   "
            f"{share:4.0%} of {rate / 1e9:,.0f} GFLOP/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
