"""Networks of the registry in a size that tests can afford."""

from __future__ import annotations

from typing import Any

from distgan.networks import DISCRIMINATORS, GENERATORS, DiscriminatorSettings, GeneratorSettings

WIDTHS = (24, 16, 8)
"""Of R3GAN's stages; a discriminator reads them backwards."""
GENERATOR: dict[str, dict[str, Any]] = {"sngan": {"width": 12}, "r3gan": {"widths": WIDTHS}}
DISCRIMINATOR: dict[str, dict[str, Any]] = {
    "sngan": {"width": 12},
    "r3gan": {"widths": WIDTHS[::-1]},
}
"""Settings of networks that are large by default."""


def small_generator(name: str, **changes: Any) -> GeneratorSettings:
    return GENERATORS[name](**GENERATOR.get(name, {}), **changes)


def small_discriminator(name: str, **changes: Any) -> DiscriminatorSettings:
    return DISCRIMINATORS[name](**DISCRIMINATOR.get(name, {}), **changes)
