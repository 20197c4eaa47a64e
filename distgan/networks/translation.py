"""The interfaces of networks that map images to images or to maps of logits, and how they start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from torch import Tensor, nn

from distgan.config.shape import ImageShape
from distgan.errors import UserError

Start = Literal["normal", "xavier"]
"""How weights start: normal from N(0, 0.02^2), as pix2pix (Isola et al. 2017, section 6.2) and
CycleGAN; xavier from N(0, 0.02^2 2 / (fan-in + fan-out)), as the code of CUT (Park et al. 2020)."""


class TranslatorSettings(Protocol):
    """The settings of a generator that is given images, with the method that builds it."""

    name: str

    def build(self, image: ImageShape, output: ImageShape) -> nn.Module:
        """A module that maps images, float (n, channels, height, width) in [-1, 1], of the shape
        ``image`` to images of the shape ``output``.

        Raises:
            UserError: for shapes that the network does not fit.
        """
        ...


class PatchDiscriminatorSettings(Protocol):
    """The settings of a discriminator of patches, with the method that builds it."""

    name: str

    def build(self, image: ImageShape) -> nn.Module:
        """A module that maps images, float (n, channels, height, width), to logits, float
        (n, 1, h', w'): one for each patch. It is a `MapDiscriminator`, and takes labels beside the
        images as every discriminator does, without a look at them.

        Args:
            image: the shape of all that it sees at once: with the channels of two images where it
                judges an input and an output.

        Raises:
            UserError: for images that are too small.
        """
        ...


class MapDiscriminator(Protocol):
    """A discriminator of patches whose hidden layers can be looked at; it has ``depth`` of them."""

    depth: int

    def with_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The logits as `forward` gives them, and what every hidden layer gives.

        Args:
            images: float (n, channels, height, width).

        Returns:
            logits, float (n, 1, h', w'), and the features of the ``depth`` hidden layers, from
            the images on, each float (n, c, h, w) after its activation.
        """
        ...


class FeatureTranslator(Protocol):
    """A generator whose hidden layers can be looked at, as contrastive translation needs.

    ``feature_layers`` are the numbers of the published ones.
    """

    feature_layers: tuple[int, ...]

    def feature_shapes(self, layers: Sequence[int]) -> list[ImageShape]:
        """Channels, height and width of what these layers give for one image."""
        ...

    def with_features(self, images: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """What these layers give, and nothing behind the last of them is computed.

        Args:
            images: float (n, channels, height, width) in [-1, 1].
            layers: their numbers, ascending.

        Returns:
            For each layer, float (n, c, h, w).
        """
        ...


def gives_features(network: nn.Module) -> bool:
    """Whether a generator is a `FeatureTranslator`."""
    return hasattr(network, "with_features") and hasattr(network, "feature_layers")


def multiple_of(network: nn.Module) -> int:
    """What the sides of images that a generator is given are multiples of, its ``multiple``.

    0 for a network that takes only images of the size that it was built for.
    """
    return int(getattr(network, "multiple", 0))


def initialise(network: nn.Module, start: Start) -> None:
    """Weights of convolutions and linear layers as ``start`` says, their biases 0; gains of batch
    and group norms from N(1, 0.02^2), their biases 0."""
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            if start == "normal":
                nn.init.normal_(part.weight, 0.0, 0.02)
            else:
                nn.init.xavier_normal_(part.weight, 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, (nn.BatchNorm2d, nn.GroupNorm)) and part.affine:
            nn.init.normal_(part.weight, 1.0, 0.02)
            nn.init.zeros_(part.bias)


def check_same_size(image: ImageShape, output: ImageShape, network: str) -> None:
    """Check that a generator that keeps the size of images is asked to keep it.

    Raises:
        UserError: otherwise, naming the ``network``.
    """
    if image[1:] != output[1:]:
        raise UserError(
            f"--generator.network.name {network}: gives images of the size of its input, "
            f"{image.height}x{image.width}, not {output.height}x{output.width}; srresnet enlarges"
        )
