"""Recipes for one's own images, and which of them suits a set.

At every size of `SIZES` there is a narrow DCGAN that two CPU cores train in minutes, and R3GAN
for GPUs; each also for few images, where the discriminator would learn them by heart and is shown
augmented ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from distgan.augment import ADASettings
from distgan.augment.diffaugment import DiffAugmentSettings
from distgan.augment.none import NoneSettings
from distgan.config.feed import FeedSettings
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import OutputConfig
from distgan.config.schedule import Schedule
from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.families.gan_config import DiscriminatorConfig, GANConfig, GeneratorConfig
from distgan.networks.base import halvings
from distgan.networks.dcgan import DCGANDiscriminatorSettings, DCGANGeneratorSettings
from distgan.recipes.r3gan import PRESETS, published

SIZES = (32, 64, 128, 256)
"""Sides of images, in pixels, that there are recipes for."""

FEW = 2_000
"""Fewer images than this are few: the discriminator's are augmented (Zhao et al. 2020, Karras et
al. 2020)."""

_LARGEST_SEED = 7
"""Pixels of the longest shorter side of a seed image that comes of halving down to 4 or more."""

_WIDTHS = {32: 32, 64: 16, 128: 16, 256: 8}
"""Width of the DCGAN at full size; it doubles with each halving, to 128 or 256 at 4x4."""

_PRESETS = {
    32: PRESETS["cifar10"],
    64: PRESETS["ffhq64"],
    # Nobody has published this one: between those beside it, with the geometric mean of gamma.
    128: replace(PRESETS["ffhq256"], gamma=17.0, bf16_from=16),
    256: PRESETS["ffhq256"],
}
"""Of R3GAN's authors, by the side of the images that they chose them for."""


@dataclass(frozen=True)
class Choice:
    """A recipe for a set, the reason in words, and the recipe for the other kind of machine."""

    recipe: str
    reason: str
    other: str


def name_of(size: int, few: bool, gpu: bool) -> str:
    """The recipe's name for a side of `SIZES`."""
    return f"photos-{size}{'-r3gan' if gpu else ''}{'-few' if few else ''}"


def choose(image: ImageShape, count: int, gpu: bool, where: str) -> Choice:
    """The recipe for a set, gray or in colour: every network takes both.

    Args:
        image: shape of the images.
        count: how many there are.
        gpu: whether a GPU is to train it.
        where: names the set in an error.

    Raises:
        UserError: for a shape that the networks cannot make, with sizes that they can.
    """
    _check(image, where)
    side, few = min(image.height, image.width), count < FEW
    size = next((size for size in reversed(SIZES) if size <= side), SIZES[0])
    number = f"{count:,} images, fewer than {FEW:,}" if few else f"{count:,} images"
    reason = f"for {number}, of {image}: {_network(few, gpu)}"
    return Choice(name_of(size, few, gpu), reason, name_of(size, few, not gpu))


def size_for(shorter: int) -> int:
    """The side to resize images to, of which nearly all have a ``shorter`` side of that: the
    largest of `SIZES` that enlarges none of them, or the smallest of all."""
    return next((size for size in reversed(SIZES) if size <= shorter), SIZES[0])


def halves(image: ImageShape) -> bool:
    """Whether the networks of these recipes can make such images: halving them evenly leads to a
    seed image with a shorter side of 4 to 7 pixels."""
    try:
        steps = halvings(image, "dcgan")
    except UserError:
        return False
    return min(image.height, image.width) >> steps <= _LARGEST_SEED


def _check(image: ImageShape, where: str) -> None:
    if halves(image):
        return
    side = min(image.height, image.width)
    sides = [size for size in _sides() if size <= max(SIZES)]
    best = max((size for size in sides if size <= side), default=sides[0])
    raise UserError(
        f"{where}: images of {image.height}x{image.width} do not halve evenly to 4 to 7 pixels, "
        f"where the convolutional networks begin; prepare them with --size {best} (sides that "
        f"work: {', '.join(map(str, sides))})"
    )


def _sides() -> Iterator[int]:
    """The sides from 32 to 256 that `halves` accepts."""
    return (n for n in range(SIZES[0], SIZES[-1] + 1) if halves(ImageShape(3, n, n)))


def _network(few: bool, gpu: bool) -> str:
    if gpu:
        return "R3GAN, for GPUs" + (", with ADA" if few else "")
    return "a small DCGAN, for CPUs" + (", with DiffAugment" if few else "")


def _dcgan(size: int, few: bool) -> GANConfig:
    # Of mnist-speedrun, whose rate of 2e-3 is too high for photographs.
    adam = AdamSettings(lr=Schedule(1e-3))
    width = _WIDTHS[size]
    return GANConfig(
        recipe=name_of(size, few, gpu=False),
        data="photos",
        images=300_000,
        batch=64,
        share_fakes=True,
        precision="bf16",
        feed=FeedSettings(mirror=few),
        generator=GeneratorConfig(
            network=DCGANGeneratorSettings(width=width),
            optimizer=adam,
            ema=EMASettings(half_life=Schedule(5_000)),
        ),
        discriminator=DiscriminatorConfig(
            network=DCGANDiscriminatorSettings(width=width),
            optimizer=adam,
            augment=DiffAugmentSettings() if few else NoneSettings(),
        ),
        output=OutputConfig(log_every=2_000, sample_every=10_000, checkpoint_every=50_000),
    )


def _r3gan(size: int, few: bool) -> GANConfig:
    config = published(_PRESETS[size], name_of(size, few, gpu=True), "photos")
    discriminator = config.discriminator
    return replace(
        config,
        images=25_000_000,
        conditional=False,
        discriminator=replace(discriminator, augment=ADASettings()) if few else discriminator,
        output=OutputConfig(
            log_every=20_000, sample_every=200_000, checkpoint_every=500_000, keep_checkpoints=2
        ),
    )


def _recipe(size: int, few: bool, gpu: bool) -> Callable[[], GANConfig]:
    def build() -> GANConfig:
        return (_r3gan if gpu else _dcgan)(size, few)

    number = f"Under {FEW:,} images" if few else "Images"
    build.__doc__ = f"{number} of your own, {size} pixels: {_network(few, gpu)}."
    return build


_ALL = [(size, few, gpu) for gpu in (False, True) for size in SIZES for few in (False, True)]

RECIPES: dict[str, Callable[[], GANConfig]] = {name_of(*each): _recipe(*each) for each in _ALL}
"""By name."""

SIZE_OF = {name_of(*each): each[0] for each in _ALL}
"""The side of the images that each recipe is for, in pixels."""

RECOGNISABLE = {"photos-64": 110_000}
"""Images after which the first samples of a recipe could be recognised, for those that were looked
at so far: on 20,000 photographs of CIFAR-10's ten classes, enlarged."""
