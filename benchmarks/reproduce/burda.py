"""VAE and IWAE bounds of Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders"
(ICLR 2016), table 1: one stochastic layer, stochastically binarised MNIST.

Encoder 784-200-200-50, decoder 50-200-200-784, tanh, Xavier's initialisation; batches of 20; Adam
with beta1 0.9, beta2 0.999 and epsilon 1e-4; 3^i passes over the training images with a learning
rate of 0.001 * 10^(-i/7), i = 0..7, 3,280 in all. The bound is of 5,000 samples on test images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reproduce.experiment import Experiment, Values, Variant
from distgan.config.schedule import Schedule
from distgan.config.settings import override
from distgan.data.prepare import PrepareSettings
from distgan.errors import UserError
from distgan.launch.evaluation import evaluate
from distgan.launch.prepare import prepare
from distgan.launch.start import resume, train
from distgan.recipes import recipe

PASSES, IMAGES, BATCH = 3_280, 60_000, 20
PUBLISHED = {1: "86.76", 50: "84.78"}
"""Minus log p(x) in nats, by the number of samples that were trained on."""
SOURCE = "Burda et al. 2016, table 1, MNIST, one stochastic layer"


def rate(passes: int) -> Schedule:
    """The learning rate, with every stage shortened alike where there are fewer passes."""
    steps, done = [], 0
    for stage in range(8):
        steps.append((1e-3 * 10 ** (-stage / 7), round(done * passes / PASSES * IMAGES)))
        done += 3**stage
    return Schedule(steps[0][0], steps=tuple(steps[1:]))


def options(parser: argparse.ArgumentParser) -> None:
    """How long, of what, and where the test images are."""
    parser.add_argument("--k", type=int, nargs="+", default=[1, 50], help="samples [1 50]")
    parser.add_argument("--batch", type=int, default=BATCH, help=f"images [{BATCH}]")
    parser.add_argument("--passes", type=int, default=PASSES, help=f"over the images [{PASSES}]")
    parser.add_argument(
        "--source", default="mnist", help="of the test images; mnist is downloaded [mnist]"
    )
    parser.add_argument("--bound", type=int, default=5_000, help="samples of the bound [5000]")


def variants(asked: argparse.Namespace) -> Sequence[Variant]:
    """One for each k."""
    differs = []
    if asked.passes != PASSES:
        differs.append(f"{asked.passes} passes in the place of {PASSES:,}, every stage shortened")
    if asked.batch != BATCH:
        differs.append(f"batches of {asked.batch} in the place of {BATCH}")
    if asked.bound != 5_000:
        differs.append(f"bound of {asked.bound:,} samples in the place of 5,000")
    return [
        Variant(
            name=f"IWAE k={k}" if k > 1 else "VAE k=1",
            settings={"k": k, "passes": asked.passes, "bound": asked.bound, "batch": asked.batch},
            published={"-log p(x), nats": PUBLISHED.get(k, "-")},
            source=SOURCE,
            differs="; ".join(differs),
        )
        for k in asked.k
    ]


def run(variant: Variant, seed: int, folder: Path, asked: argparse.Namespace) -> Values:
    """Train, and measure the bound on the test images."""
    test, out = asked.out / "mnist-test", folder / "run"
    if not test.exists():
        prepare(asked.source, str(test), PrepareSettings(split="test"))
    images = asked.passes * IMAGES
    if out.exists():
        try:
            resume(str(out), workers=0, threads=1)
        except UserError as error:
            # A complete run is measured.
            print(f"  {error}")
    else:
        config = override(
            recipe("mnist-vae"),
            {
                **dict.fromkeys(("encoder.widths", "decoder.widths"), "200,200"),
                **dict.fromkeys(("encoder.activation", "decoder.activation"), "tanh"),
                "latent": 50,
                "likelihood.binarise": True,
                "importance_samples": variant.settings["k"],
                "optimizer.lr": str(rate(asked.passes)),
                "optimizer.eps": 1e-4,
                "ema.half_life": 0,
                "batch": asked.batch,
                "images": images,
                "seed": seed,
                "output.log_every": 60_000,
                "output.sample_every": images // 4,
                "output.checkpoint_every": 600_000,
            },
        )
        train(config, out=str(out), workers=0, threads=1)
    found = evaluate(
        str(out),
        {
            "metrics": "elbo,iwae,active-units",
            "held_out": str(test),
            "num": 10_000,
            "iwae_k": asked.bound,
        },
        workers=0,
        threads=1,
    )
    values = {name: value.value for name, value in found.values.items()}
    return {
        "-log p(x), nats": -values["iwae"],
        "-ELBO, nats": -values["elbo"],
        "active units": values["active-units"],
    }


EXPERIMENT = Experiment(
    "burda", "VAE and IWAE bounds on binarised MNIST (Burda et al. 2016)", options, variants, run
)
