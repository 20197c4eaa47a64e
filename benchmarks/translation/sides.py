"""What is trained: recipes and what of them is changed, sets, and what is measured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distgan.config.schedule import Schedule
from distgan.config.settings import leaves, override
from distgan.data.prepare import PrepareSettings
from distgan.families.translation_config import TranslationConfig
from distgan.launch.prepare import prepare
from distgan.recipes import recipe

NEVER = 10**9
"""More images than any run here comes to."""


@dataclass(frozen=True)
class Side:
    """A recipe, and what of it is changed.

    Args:
        name: of its records, and for ``--only``.
        title: in the table.
        plain: train by the plain script, not by distgan.
        own: changes that make it what it is, recorded as settings.
    """

    name: str
    title: str
    recipe: str
    plain: bool = False
    own: dict[str, Any] = field(default_factory=dict)

    def config(self, data: str, seed: int, images: int = NEVER) -> TranslationConfig:
        """What a run of it computes, without pictures and evaluations on the way.

        Learning rates that fall do so over ``images``.
        """
        quiet = {"output.sample_every": NEVER, "output.checkpoint_every": NEVER}
        changes = {**self.own, **quiet, "evaluate.every": 0, "data": data, "seed": seed}
        found = override(recipe(self.recipe), changes)
        assert isinstance(found, TranslationConfig)
        rates = {name: str(_over(rate, images, found.images)) for name, rate in _falling(found)}
        return override(found, {**rates, "images": images})

    @property
    def falls(self) -> bool:
        """Whether a learning rate of it does, so that it has to know when it ends."""
        return any(_falling(recipe(self.recipe)))


def _falling(config: Any) -> Iterator[tuple[str, Schedule]]:
    for each in leaves(config):
        rate = each.value
        if each.name.endswith(".lr") and isinstance(rate, Schedule) and not rate.constant:
            yield each.name, rate


def _over(rate: Schedule, images: int, of: int) -> Schedule:
    begin, end = (round(at / of * images) for at in (rate.begin, rate.images))
    return Schedule(rate.start, rate.end, end, rate.shape, begin=begin)


@dataclass(frozen=True)
class Baseline:
    """A line of the table that nobody trained: by the name of a value, where records have it."""

    title: str
    values: dict[str, str]


@dataclass(frozen=True)
class Task:
    """What is to be learned from a set, by which sides, and what is measured of them.

    Args:
        metrics: as `distgan evaluate` takes them.
        shown: the values of the table, with their titles.
    """

    name: str
    title: str
    set: str
    sides: tuple[Side, ...]
    metrics: tuple[str, ...]
    shown: dict[str, str]
    baselines: tuple[Baseline, ...]


_PIXELS = {"l1": "L1", "psnr": "PSNR, dB", "ssim": "SSIM"}


def _of_input(*names: str) -> dict[str, str]:
    return {name: f"{name}-of-input" for name in names}


TASKS = (
    Task(
        "edges",
        "MNIST, digits from their outlines",
        "mnist",
        (
            Side("edges2digits-pix2pix", "pix2pix", "edges2digits-pix2pix"),
            Side("edges2digits-l1", "L1 alone", "edges2digits-l1"),
            Side("edges2digits-plain", "pix2pix, plain script", "edges2digits-pix2pix", plain=True),
            Side("edges2digits-cyclegan", "CycleGAN, no pairs", "edges2digits-cyclegan"),
            Side("edges2digits-cut", "CUT, no pairs", "edges2digits-cut"),
            Side("edges2digits-fastcut", "FastCUT, no pairs", "edges2digits-fastcut"),
        ),
        ("l1", "psnr", "ssim", "label-score", "frechet"),
        {**_PIXELS, "label-score": "label score", "frechet": "Frechet distance"},
        (
            Baseline("the outlines themselves", _of_input("label-score")),
            Baseline("the digits themselves", {"label-score": "label-score-of-targets"}),
        ),
    ),
    Task(
        "gray",
        "CIFAR-10, colours from gray",
        "cifar10",
        (Side("cifar10-colorize", "pix2pix", "cifar10-colorize"),),
        ("l1", "psnr", "ssim", "feature-distance", "frechet"),
        {**_PIXELS, "feature-distance": "feature distance", "frechet": "Frechet distance"},
        (Baseline("gray, the input itself", _of_input(*_PIXELS, "feature-distance")),),
    ),
    Task(
        "small",
        "CIFAR-10, 32x32 pixels from 16x16",
        "cifar10",
        (
            Side("cifar10-superres", "SRGAN", "cifar10-superres"),
            Side(
                "cifar10-superres-l1",
                "SRGAN without its discriminator",
                "cifar10-superres",
                own={"adversarial": 0, "features": 0},
            ),
        ),
        ("l1", "psnr", "ssim", "feature-distance", "frechet"),
        {**_PIXELS, "feature-distance": "feature distance", "frechet": "Frechet distance"},
        (Baseline("bicubic", _of_input(*_PIXELS, "feature-distance")),),
    ),
)
SIDES = {side.name: (task, side) for task in TASKS for side in task.sides}
"""By name, with their task."""


@dataclass(frozen=True)
class Data:
    """A set as runs take it, and its held-out images."""

    train: str
    held_out: str


def data(name: str, folder: Path) -> Data:
    """A set's training and test images, prepared in ``folder`` where they are not there yet.

    They come from DISTGAN_TEST_DATA where that names a folder, else they are downloaded. MNIST's
    training images are those of the package.
    """
    held_out, train = folder / f"{name}-test", folder / f"{name}-train"
    local = os.environ.get("DISTGAN_TEST_DATA", "")
    files = sorted(Path(local, name).glob("*.parquet")) if local else []
    sources = {file.stem.split("-")[0]: str(file) for file in files}
    everywhere = str(Path(local, name)) if local and Path(local, name).is_dir() else name
    if name == "mnist":
        _prepared(everywhere, held_out, "test")
        return Data("mnist", str(held_out))
    for split, out in (("train", train), ("test", held_out)):
        _prepared(sources.get(split, everywhere), out, "train" if sources else split)
    return Data(str(train), str(held_out))


def _prepared(source: str, out: Path, split: Any) -> None:
    if not out.exists():
        prepare(source, str(out), PrepareSettings(split=split), workers=0)
