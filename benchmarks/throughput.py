"""Images per second of distgan's step beside a textbook PyTorch loop of the same networks.

The textbook loop is that of PyTorch's DCGAN example: D on reals, D on detached fakes, one
backward each, Adam as it comes; G through the updated D with the same z; the losses read
every step. Both sides compute the same update from the same batches in memory. distgan's
side is its step with the process settings of its workers. W5 to W8 are pix2pix and CycleGAN,
beside the loops of `benchmarks.textbook_translation`, W9 and W10 families of clips, beside those of
`benchmarks.textbook_clips`; of these images, or clips, in a second of processor time are compared.

    python -m benchmarks.throughput --threads 2
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks import clip_sides, translators
from benchmarks.clip_sides import CLIPS
from benchmarks.flops import counter, torch_products
from benchmarks.frame import (
    Benchmark,
    Comparison,
    Process,
    Turn,
    Values,
    Work,
    main,
    timed,
)
from benchmarks.gans import gan_batch, gan_recipe
from benchmarks.textbook import BETAS, RATE, Textbook, in_plain_torch
from benchmarks.translators import TRANSLATIONS
from distgan.config.settings import override
from distgan.families import Batch, DataSpec
from distgan.families.gan_config import GANConfig
from distgan.networks import ImageShape
from distgan.networks.kernels.linear import Linear
from distgan.parallel import World
from distgan.parallel.allocator import keep_freed_memory
from distgan.training.state import TrainingState

_BATCHES = 8
PER_CPU_SECOND = "images/CPU s"
"""Images in a second of processor time, over all threads."""
_DTYPES = {"float32": "float32", "bf16": "bfloat16"}
_QUICK = ("W1", "W2", "W5")


@dataclass(frozen=True)
class Workload:
    """Networks, images and batch of a comparison."""

    about: str
    image: ImageShape
    batch: int
    network: str
    loss: str = "non-saturating"

    @property
    def config(self) -> GANConfig:
        """The same as a configuration."""
        adam = {"lr": RATE, "beta1": BETAS[0], "beta2": BETAS[1]}
        changes: dict[str, Any] = {"batch": self.batch, "loss": self.loss, "share_fakes": True}
        for side in ("generator", "discriminator"):
            changes[f"{side}.network.name"] = self.network
            changes |= {f"{side}.optimizer.{name}": value for name, value in adam.items()}
        return override(gan_recipe("mnist-mlp-tutorial"), changes)


WORKLOADS = {
    "W1": Workload("tutorial's MLP, 28x28x1", ImageShape(1, 28, 28), 128, "mlp"),
    "W2": Workload("DCGAN, 32x32x1", ImageShape(1, 32, 32), 128, "dcgan"),
    "W3": Workload("DCGAN, 64x64x3", ImageShape(3, 64, 64), 64, "dcgan"),
    "W4": Workload("SNGAN ResNet, 32x32x3", ImageShape(3, 32, 32), 64, "sngan", loss="hinge"),
}


OF_FAMILIES = {**TRANSLATIONS, **CLIPS}
"""Those of other families than the GAN."""


def random_batches(workload: Workload, config: GANConfig) -> list[Batch]:
    """A few batches in memory, the same for every side."""
    torch.manual_seed(1)
    n = workload.batch
    return [
        gan_batch(
            torch.rand(n, *workload.image).mul_(2).sub_(1),
            discriminator=torch.randn(n, config.latent),
            generator=torch.randn(n, config.latent),
        )
        for _ in range(_BATCHES)
    ]


def textbook(name: str | Workload, threads: int) -> Work:
    """The loop that a reader of tutorials writes."""
    torch.set_num_threads(threads)
    workload = WORKLOADS[name] if isinstance(name, str) else name
    config = workload.config
    generator = in_plain_torch(config.generator.network.build(workload.image, config.latent, 0))
    discriminator = in_plain_torch(config.discriminator.network.build(workload.image, 0))
    loop = Textbook(generator, discriminator, hinge=workload.loss == "hinge")
    batches = itertools.cycle(random_batches(workload, config))

    def work() -> int:
        batch = next(batches)
        loop.step(batch.columns["image"], batch.draws["generator"])
        return workload.batch

    return work


def ours(name: str | Workload, threads: int, precision: str, compiled: str = "off") -> Work:
    """distgan's step, with what its workers set for their process."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    workload = WORKLOADS[name] if isinstance(name, str) else name
    config = override(workload.config, {"precision": precision, "compile": compiled})
    state = TrainingState(config, DataSpec.numbered(workload.image, 0), World())
    batches = itertools.cycle(
        [
            gan_batch(
                batch.columns["image"].contiguous(memory_format=torch.channels_last), **batch.draws
            )
            for batch in random_batches(workload, config)
        ]
    )

    def work() -> int:
        # The textbook has no moving average, nor has this.
        phases = state.family.phases(state.images_seen)
        state.statistics.add(state.training_step().run(phases, [next(batches)]))
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


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which workloads, on how many threads, and whether compiled too."""
    names = [*WORKLOADS, *OF_FAMILIES]
    parser.add_argument("--workload", action="append", choices=names, help="[all; quick W1 W2 W5]")
    parser.add_argument("--threads", action="append", type=int, help="[2]")
    parser.add_argument("--compile", action="store_true", help="compiled sides too")
    parser.add_argument(
        "--precision",
        action="append",
        choices=_DTYPES,
        help="of distgan's sides; bf16 takes minutes on processors without it [both]",
    )


def compare(options: argparse.Namespace) -> Iterator[Comparison]:
    """Each workload on each number of threads."""
    names = _QUICK if options.quick else (*WORKLOADS, *OF_FAMILIES)
    for name in options.workload or names:
        for threads in options.threads or (2,):
            yield _comparison(name, threads, options.precision or _DTYPES, options.compile)


def _comparison(name: str, threads: int, precisions: Iterable[str], compiled: bool) -> Comparison:
    of_family = name in OF_FAMILIES
    workload: Any = OF_FAMILIES[name] if of_family else WORKLOADS[name]
    plain, own = textbook, ours
    if of_family:
        module = translators if name in TRANSLATIONS else clip_sides
        plain, own = module.textbook, module.ours
    sides: dict[str, tuple[str, Callable[..., Work], tuple[str, ...]]] = {
        "textbook": ("float32", plain, ())
    }
    for ending, more in (("", ()), (" compiled", ("on",)))[: 1 + compiled]:
        for precision in precisions:
            sides[precision + ending] = (_DTYPES[precision], own, (precision, *more))
    dtypes = dict.fromkeys(dtype for dtype, _, _ in sides.values())
    rates = {dtype: peak(threads, dtype) for dtype in dtypes}
    return Comparison(
        f"{name}, {threads} thread{'s' * (threads > 1)}",
        PER_CPU_SECOND if of_family else "images/s",
        {
            side: partial(Process, of_peak, rates[dtype], prepare, name, threads, *more)
            for side, (dtype, prepare, more) in sides.items()
        },
        about=f"{workload.about}, batch {workload.batch}; peaks of "
        + " and ".join(f"{rate / 1e9:,.0f} GFLOP/s ({dtype})" for dtype, rate in rates.items()),
    )


def of_peak(peak: float, prepare: Callable[..., Work], name: str, threads: int, *more: str) -> Turn:
    """Turns that find images/s and their share of the peak, by the FLOPs that the side does.

    Args:
        peak: FLOP/s.
    """
    # A compiled step does what the same step does uncompiled, which can be counted.
    work = prepare(name, threads, *more[:1])
    with torch_products(), counter() as counted:
        images = work()
    seconds_per_image = counted.get_total_flops() / images / peak
    compiled = more[1:]
    turn = timed(prepare, name, threads, *more) if compiled else timed(lambda: work)

    def measured(seconds: float) -> Values:
        start, spent = time.perf_counter(), time.process_time()
        found = turn(seconds)
        passed, spent = time.perf_counter() - start, time.process_time() - spent
        if name in OF_FAMILIES:
            found = {PER_CPU_SECOND: found["images/s"] * passed / spent, **found}
        return {**found, "% of peak": 100 * found["images/s"] * seconds_per_image}

    return measured


BENCHMARK = Benchmark(
    "throughput",
    "the step beside a textbook loop of the same networks",
    compare,
    add_options,
    turns=6,
    quick=(3, 1.0),
)

if __name__ == "__main__":
    main(BENCHMARK)
