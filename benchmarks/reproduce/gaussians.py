"""Mixtures of Gaussians in the plane: 25 on a grid, 8 on a ring, and the modes a GAN finds.

The protocol is that of Srivastava et al., "VEEGAN" (NeurIPS 2017), section 5.1, as Lin et al.,
"PacGAN" (NeurIPS 2018), have it in their released code: centres at -4, -2, ..., 4 in both
directions with a standard deviation of 0.05; 2,500 samples, of high quality within three standard
deviations of the nearest centre; a mode is found that has a sample of high quality. Ours is the
same set divided by 5, so that it fits the generator's tanh.

PacGAN's plain GAN has a generator of four layers of 400 with batch norm, a discriminator of three
maxout layers of 200, z of 2 dimensions, batches of 100, Adam with a rate of 1e-4 and beta1 0.8, and
400,000 updates. That is hours on a core for each seed. By default networks are three layers of 128
and learn ten times as fast, for 20,000 updates; `--size published` takes the widths, the rate and
the updates of the source.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gans import gan_batch, gan_recipe
from benchmarks.reproduce.experiment import Experiment, Values, Variant
from distgan.config.settings import override
from distgan.families import DataSpec
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.training.state import TrainingState

POINT = ImageShape(2, 1, 1)
SAMPLES = 2_500
SOURCE = (
    "Lin et al. 2018 (PacGAN), table 1; their code for settings, their figures not checked here"
)

_ADAM = ("generator.optimizer", "discriminator.optimizer")
SIZES: dict[str, dict[str, Any]] = {
    "small": {
        "generator.network.widths": "128,128,128",
        "discriminator.network.widths": "128,128,128",
        **{f"{adam}.lr": 1e-3 for adam in _ADAM},
    },
    "published": {
        "generator.network.widths": "400,400,400,400",
        "discriminator.network.widths": "200,200,200",
        **{f"{adam}.lr": 1e-4 for adam in _ADAM},
    },
}
UPDATES = {"small": 20_000, "published": 400_000}
"""Of each network, by the size."""
RULES: dict[str, dict[str, Any]] = {
    "GAN": {
        **{f"{side}.optimizer.beta1": 0.8 for side in ("generator", "discriminator")},
        "generator.ema.half_life": 0,
    },
    "RpGAN + R1 + R2": {
        **{f"{side}.optimizer.beta1": 0.0 for side in ("generator", "discriminator")},
        "loss": "relativistic",
        "discriminator.penalty.r1": 0.1,
        "discriminator.penalty.r2": 0.1,
        "generator.ema.half_life": 5_000,
    },
}
"""What is compared: the plain GAN with PacGAN's momentum, and R3GAN's loss."""


def grid() -> tuple[Tensor, float]:
    """25 centres, float (25, 2), and the standard deviation."""
    line = torch.arange(-4.0, 5.0, 2.0) / 5
    return torch.cartesian_prod(line, line), 0.05 / 5


def ring() -> tuple[Tensor, float]:
    """8 centres on a circle, as `grid`; the deviation is a hundredth of the radius."""
    angles = torch.arange(8) * (2 * math.pi / 8)
    return 0.8 * torch.stack([angles.cos(), angles.sin()], 1), 0.008


MIXTURES = {"grid": grid, "ring": ring}


def measured(samples: Tensor, centres: Tensor, deviation: float) -> Values:
    """Modes found, the share of samples of high quality, and KL of their modes from uniform.

    Args:
        samples: float (n, 2).
        centres: float (modes, 2).
    """
    distances, nearest = torch.cdist(samples, centres).min(1)
    good = distances < 3 * deviation
    counts = torch.bincount(nearest[good], minlength=len(centres)).double()
    shares = counts / counts.sum().clamp_min(1)
    seen = shares > 0
    divergence = (shares[seen] * (shares[seen] * len(centres)).log()).sum().item()
    return {
        "modes": float(seen.sum()),
        "high quality, %": 100 * good.double().mean().item(),
        "KL from uniform, nats": divergence if seen.any() else math.inf,
    }


def options(parser: argparse.ArgumentParser) -> None:
    """Which mixture and rule, and how long."""
    parser.add_argument("--mixture", nargs="+", choices=MIXTURES, default=list(MIXTURES))
    parser.add_argument("--rule", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--size", choices=SIZES, default="small", help="of the networks [small]")
    parser.add_argument("--updates", type=int, help="of 100 points [by the size: 20000, 400000]")


def variants(asked: argparse.Namespace) -> Sequence[Variant]:
    """Each mixture with each rule."""
    updates = asked.updates or UPDATES[asked.size]
    differs = "ReLU in the place of maxout, no batch norm, fresh points"
    if asked.size == "small":
        differs += ", narrow networks, ten times the rate"
    if updates != UPDATES["published"]:
        differs += f", {updates:,} updates in the place of {UPDATES['published']:,}"
    return [
        Variant(
            name=f"{mixture}, {rule}",
            settings={
                **{"mixture": mixture, "rule": rule, "updates": updates},
                **SIZES[asked.size],
                **RULES[rule],
            },
            published={},
            source=SOURCE,
            differs=differs,
        )
        for mixture in asked.mixture
        for rule in asked.rule
    ]


def run(variant: Variant, seed: int, folder: Path, asked: argparse.Namespace) -> Values:
    """Train on fresh points, and judge the average, or the last weights where none is kept."""
    centres, deviation = MIXTURES[variant.settings["mixture"]]()
    named = {name: value for name, value in variant.settings.items() if "." in name}
    changes = {**named, "loss": variant.settings.get("loss", "non-saturating"), "seed": seed}
    config = override(gan_recipe("mnist-mlp-tutorial"), {**changes, "latent": 2, "batch": 100})
    torch.set_num_threads(1)
    state = TrainingState(config, DataSpec.numbered(POINT, 0), World())
    draw = torch.Generator().manual_seed(seed)
    for _ in range(variant.settings["updates"]):
        chosen = centres[torch.randint(len(centres), (config.batch,), generator=draw)]
        real = chosen + deviation * torch.randn(chosen.shape, generator=draw)
        z = torch.randn(2, config.batch, config.latent, generator=draw)
        state.step([gan_batch(real.view(-1, *POINT), discriminator=z[0], generator=z[1])])
    with torch.no_grad():
        z = torch.randn(SAMPLES, config.latent, generator=draw)
        average = state.averages.get("generator")
        network = state.networks["generator"].network if average is None else average.average
        points = network.eval()(z, None).flatten(1)
    (folder / "points.csv").write_text(
        "\n".join(f"{x:.5f},{y:.5f}" for x, y in points.tolist()) + "\n"
    )
    return measured(points, centres, deviation)


EXPERIMENT = Experiment(
    "gaussians", "modes of 25 Gaussians on a grid and 8 on a ring", options, variants, run
)
