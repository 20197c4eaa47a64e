"""Recipes: functions that return a whole configuration.

To add one, write a function and name it in `RECIPES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from distgan.config import Config, DiscriminatorConfig, GeneratorConfig, OutputConfig
from distgan.errors import UserError
from distgan.networks.dcgan import DCGANDiscriminatorSettings, DCGANGeneratorSettings
from distgan.networks.mlp import MLPDiscriminatorSettings, MLPGeneratorSettings
from distgan.settings import nearest


def mnist_mlp() -> Config:
    """The tutorial's fully connected pair on MNIST."""
    return Config(
        recipe="mnist-mlp",
        generator=GeneratorConfig(network=MLPGeneratorSettings()),
        discriminator=DiscriminatorConfig(network=MLPDiscriminatorSettings()),
    )


def mnist_mlp_conditional() -> Config:
    """The same with labels: G sees [z; e], e a learned embedding; D sees the label too."""
    return replace(mnist_mlp(), recipe="mnist-mlp-conditional", conditional=True)


def mnist_dcgan() -> Config:
    """A convolutional pair with batch normalisation on MNIST."""
    return Config(
        recipe="mnist-dcgan",
        images=300_000,
        generator=GeneratorConfig(network=DCGANGeneratorSettings()),
        discriminator=DiscriminatorConfig(network=DCGANDiscriminatorSettings()),
        output=OutputConfig(log_every=2_000, sample_every=20_000, checkpoint_every=20_000),
    )


RECIPES: dict[str, Callable[[], Config]] = {
    "mnist-mlp": mnist_mlp,
    "mnist-mlp-conditional": mnist_mlp_conditional,
    "mnist-dcgan": mnist_dcgan,
}
"""Every recipe by name; the first is the default."""


def recipe(name: str) -> Config:
    """The configuration of a recipe.

    Raises:
        UserError: for a name that is not in `RECIPES`, with the nearest that is.
    """
    if name not in RECIPES:
        raise UserError(
            f"{name!r}: no such recipe{nearest(name, list(RECIPES))}; `distgan recipes` lists them"
        )
    return RECIPES[name]()
