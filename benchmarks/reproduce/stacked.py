"""Modes that a GAN finds of the 1,000 of Stacked MNIST, beside what was published.

The protocol is that of PacGAN's code (Lin et al., NeurIPS 2018), which repeats VEEGAN's experiment:
128,000 training images, 26,000 generated ones, a classifier of digits on each channel; a mode is
found if one image shows it, and the divergence is KL(histogram || uniform) in nats. The classifier
is the one in the package, and others are not quite like it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reproduce.experiment import Experiment, Values, Variant
from distgan.config.settings import override
from distgan.data.prepare import PrepareSettings
from distgan.data.sources.stacked import NAME
from distgan.evaluate import evaluation
from distgan.launch.evaluation import evaluate
from distgan.launch.prepare import prepare
from distgan.launch.start import resume, train
from distgan.recipes import recipe as recipe_of
from distgan.runs import records
from distgan.runs.export import exported
from distgan.storage.storage import Storage

SAMPLES = 26_000

R1_ALONE = {"discriminator.penalty.r2": 0}
NON_SATURATING = {"loss": "non-saturating"}

PUBLISHED = {
    "R3GAN": {"modes": "1000", "divergence": "0.029"},
    "RpGAN + R1 + R2": {"modes": "1000", "divergence": "0.0781"},
    "GAN + R1 + R2": {"modes": "693", "divergence": "0.9270"},
    "RpGAN + R1": {"modes": "diverges", "divergence": "diverges"},
    "GAN + R1": {"modes": "diverges", "divergence": "diverges"},
}
"""Huang et al., NeurIPS 2024: R3GAN of 20.7 million weights after 10 million images, and the
ablation of losses with a smaller ResNet without normalisation."""

ABLATION: dict[str, dict[str, Any]] = {
    "RpGAN + R1 + R2": {},
    "GAN + R1 + R2": NON_SATURATING,
    "RpGAN + R1": R1_ALONE,
    "GAN + R1": {**NON_SATURATING, **R1_ALONE},
}
"""Settings that make a recipe of R3GAN a row of the ablation."""


SOURCE = "Huang et al., NeurIPS 2024 (R3GAN): Stacked MNIST, and the ablation of losses"
IMAGES = 500_000
"""Trained on by default, in the place of 10 million."""


def options(parser: argparse.ArgumentParser) -> None:
    """Which losses, with which networks, and how long."""
    parser.add_argument("--loss", nargs="+", choices=ABLATION, default=list(ABLATION))
    parser.add_argument(
        "--recipe", default="stacked-mnist-r3gan-tiny", help="[stacked-mnist-r3gan-tiny]"
    )
    parser.add_argument("--images", type=int, default=IMAGES, help=f"to train on [{IMAGES}]")


def variants(asked: argparse.Namespace) -> Sequence[Variant]:
    """The losses of the ablation."""
    return [
        Variant(
            name=loss,
            settings={"recipe": asked.recipe, "images": asked.images, **ABLATION[loss]},
            published=PUBLISHED[loss],
            source=SOURCE,
            differs=f"networks of {asked.recipe}, {asked.images:,} images, our classifier",
        )
        for loss in asked.loss
    ]


def run(variant: Variant, seed: int, folder: Path, asked: argparse.Namespace) -> Values:
    """Train, and count modes."""
    found = measure(seed, asked.images, asked.recipe, ABLATION[variant.name], folder / "run")
    return {"modes": found["modes"], "divergence": found["divergence"]}


def measure(
    seed: int,
    images: int,
    recipe: str,
    settings: Mapping[str, Any],
    out: Path,
    *,
    training_images: int | None = None,
) -> dict[str, Any]:
    """Train once in this process and measure, or take up what is there.

    Args:
        images: to train on, repeats included.
        recipe: one of `distgan.recipes.stacked`.
        settings: changes of it, by dotted names.
        out: folder of the run; the set lies beside it, for runs of other seeds, too.
        training_images: different ones; None for the published number.

    Returns:
        ``modes`` and ``divergence``; ``samples`` that they were measured by; ``classifier``, the
        hash of its weights; ``images`` trained on; ``seconds`` of training, of all attempts.
    """
    data = out.parent / (NAME if training_images is None else f"{NAME}-{training_images}")
    if not (data / "manifest.json").exists():
        prepare(NAME, str(data), PrepareSettings(subset=training_images), workers=0)
    changes = {"seed": seed, "images": images, "data": str(data), **settings}
    config = override(recipe_of(recipe), changes)
    storage = Storage(out)
    if not (out / "config.yaml").exists():
        train(config, out=str(out), workers=0)
    elif exported(storage) < config.total:
        resume(str(out), workers=0)
    if not _measured(storage, config.total):
        evaluate(str(out), {"metrics": "modes,frechet", "num": SAMPLES}, workers=0)
    found = _measured(storage, config.total)[-1]
    return {
        "modes": int(found["values"]["modes-found"]["value"]),
        "divergence": found["values"]["uniform-divergence"]["value"],
        "samples": found["card"]["fake"],
        "classifier": found["card"]["extractor_hash"],
        "images": found["images"],
        "seconds": _seconds(storage),
    }


def _measured(storage: Storage, images: int) -> list[dict[str, Any]]:
    """Evaluations by the protocol after so many images or more."""
    return [
        entry
        for entry in evaluation.read(storage)
        if entry["images"] >= images
        and entry["card"]["fake"] == SAMPLES
        and "uniform-divergence" in entry["values"]
    ]


def _seconds(storage: Storage) -> float:
    """Of training, by the speed in each record, whoever interrupted it."""
    recorded = records.read(storage)
    starts = [0, *(record["images"] for record in recorded)]
    total = 0.0
    for start, record in zip(starts, recorded, strict=False):
        if speed := record.get("images_per_second"):
            total += (record["images"] - start) / speed
    return total


EXPERIMENT = Experiment(
    "stacked-mnist", "modes of Stacked MNIST and the ablation of losses", options, variants, run
)
