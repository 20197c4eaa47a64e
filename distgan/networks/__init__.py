"""Networks, one architecture a file.

To add one: write its file with its settings and their ``build``, and name the settings
in the union below. The command line, checkpoints, export and the tests that run over
every network follow from that.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from distgan.config.settings import by_name
from distgan.config.shape import ImageShape
from distgan.networks.base import DiscriminatorSettings, GeneratorSettings
from distgan.networks.dcgan import DCGANDiscriminatorSettings, DCGANGeneratorSettings
from distgan.networks.mlp import MLPDiscriminatorSettings, MLPGeneratorSettings
from distgan.networks.patchgan import PatchGANSettings, PixelGANSettings
from distgan.networks.r3gan import R3GANDiscriminatorSettings, R3GANGeneratorSettings
from distgan.networks.resnet_generator import ResNetGeneratorSettings
from distgan.networks.sngan import SNGANDiscriminatorSettings, SNGANGeneratorSettings
from distgan.networks.srresnet import SRResNetSettings
from distgan.networks.translation import PatchDiscriminatorSettings, TranslatorSettings
from distgan.networks.unet import UNetSettings

GeneratorNetwork = Annotated[
    MLPGeneratorSettings | DCGANGeneratorSettings | SNGANGeneratorSettings | R3GANGeneratorSettings,
    Field(discriminator="name"),
]
DiscriminatorNetwork = Annotated[
    MLPDiscriminatorSettings
    | DCGANDiscriminatorSettings
    | SNGANDiscriminatorSettings
    | R3GANDiscriminatorSettings,
    Field(discriminator="name"),
]

TranslatorNetwork = Annotated[
    UNetSettings | ResNetGeneratorSettings | SRResNetSettings, Field(discriminator="name")
]
PatchDiscriminatorNetwork = Annotated[
    PatchGANSettings | PixelGANSettings, Field(discriminator="name")
]

GENERATORS: dict[str, type[GeneratorSettings]] = by_name(GeneratorNetwork)
"""Settings of every generator by name."""
DISCRIMINATORS: dict[str, type[DiscriminatorSettings]] = by_name(DiscriminatorNetwork)
"""Settings of every discriminator by name."""
TRANSLATORS: dict[str, type[TranslatorSettings]] = by_name(TranslatorNetwork)
"""Settings of every generator from images by name."""
PATCH_DISCRIMINATORS: dict[str, type[PatchDiscriminatorSettings]] = by_name(
    PatchDiscriminatorNetwork
)
"""Settings of every discriminator of patches by name."""

__all__ = [
    "DISCRIMINATORS",
    "GENERATORS",
    "PATCH_DISCRIMINATORS",
    "TRANSLATORS",
    "DiscriminatorNetwork",
    "DiscriminatorSettings",
    "GeneratorNetwork",
    "GeneratorSettings",
    "ImageShape",
    "PatchDiscriminatorNetwork",
    "PatchDiscriminatorSettings",
    "TranslatorNetwork",
    "TranslatorSettings",
]
