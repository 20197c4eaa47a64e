"""The interface of every network, and parts that several of them share."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from distgan.config.shape import ImageShape
from distgan.errors import UserError

GeneratorConditioning = Literal["concat", "batchnorm"]
"""How a generator is conditioned on the label: an embedding e in [z; e] (Mirza and Osindero
2014), or the gain and bias of its batch norms (`ConditionalBatchNorm2d`)."""

DiscriminatorConditioning = Literal["concat", "projection", "auxiliary"]
"""How a discriminator is conditioned on the label: an embedding beside its input (Mirza and
Osindero 2014), `Projection`, or classification by one more logit per class (Odena et al.,
"Conditional Image Synthesis with Auxiliary Classifier GANs", 2017)."""


class GeneratorSettings(Protocol):
    """The settings of a generator, with the method that builds it."""

    name: str

    def build(self, image: ImageShape, latent: int, classes: int) -> nn.Module:
        """A module that maps z, float (n, latent), and labels, int64 (n,) or None, to
        images, float (n, channels, height, width) in [-1, 1]. While training they may
        leave that range where the published network has no final squashing.

        Args:
            image: shape of one image.
            latent: length of z.
            classes: number of labels, 0 for an unconditional network.
        """
        ...


class DiscriminatorSettings(Protocol):
    """The settings of a discriminator, with the method that builds it."""

    name: str

    def build(self, image: ImageShape, classes: int) -> nn.Module:
        """A module that maps images, float (n, channels, height, width) in [-1, 1], and
        labels, int64 (n,) or None, to logits, float (n,).

        With auxiliary conditioning they are float (n, 1 + classes): the adversarial logit
        in column 0, then a logit for each class.
        """
        ...


class FeatureDiscriminator(Protocol):
    """A discriminator whose hidden layers can be looked at.

    ``depth`` is how many it has that count.
    """

    depth: int

    def with_features(
        self, images: Tensor, labels: Tensor | None, layer: int
    ) -> tuple[Tensor, Tensor]:
        """The logits as `forward` gives them, and what a hidden layer gives.

        Args:
            images: float (n, channels, height, width) in [-1, 1].
            labels: int64 (n,) or None.
            layer: 1, nearest to the images, to ``depth``.

        Returns:
            logits, and features, float (n, ...), after the layer's activation if it has one.
        """
        ...


class ConcatLabel(nn.Module):
    """[v; e]: vectors v followed by a learned embedding e of the label.

    Without classes the result is v. ``width`` is the length of the result.
    """

    def __init__(self, features: int, classes: int, embedding: int) -> None:
        super().__init__()
        self.width = features + (embedding if classes else 0)
        self.embed = nn.Embedding(classes, embedding) if classes else None

    def forward(self, vectors: Tensor, labels: Tensor | None) -> Tensor:
        """float (n, features), int64 (n,) or None -> float (n, width)."""
        if self.embed is None:
            return vectors
        return torch.cat([vectors, self.embed(labels)], dim=1)


class LabelPlane(nn.Embedding):
    """The label as one more image plane: an embedding with one value per pixel."""

    def __init__(self, image: ImageShape, classes: int) -> None:
        super().__init__(classes, image.height * image.width)
        self.size = (1, image.height, image.width)

    def forward(self, input: Tensor) -> Tensor:
        """Labels, int64 (n,) -> float (n, 1, height, width)."""
        return super().forward(input).view(-1, *self.size)


class Projection(nn.Module):
    """<embed(y), f>, which a projection discriminator adds to its logit.

    Miyato and Koyama, "cGANs with Projection Discriminator" (2018), equation 3; the
    embedding starts as in their code, Xavier-uniform.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, features)
        nn.init.xavier_uniform_(self.embed.weight)

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """float (n, ...), flattened to (n, features), and int64 (n,) -> float (n,)."""
        product: Tensor = (self.embed(labels) * features.flatten(1)).sum(1)
        return product


def logit_count(classes: int, conditioning: DiscriminatorConditioning) -> int:
    """Outputs of a discriminator's last layer: one, and with auxiliary one more per class."""
    return 1 + classes if conditioning == "auxiliary" else 1


def projection(
    features: int, classes: int, conditioning: DiscriminatorConditioning
) -> Projection | None:
    """The `Projection` of a discriminator that has one."""
    return Projection(features, classes) if classes and conditioning == "projection" else None


def to_logits(
    outputs: Tensor, features: Tensor, labels: Tensor | None, projection: Projection | None
) -> Tensor:
    """A discriminator's logits, from the outputs and the input of its last layer.

    Args:
        outputs: float (n, 1), or (n, 1 + classes) with auxiliary conditioning.
        features: float (n, ...).
        labels: int64 (n,) or None.
        projection: that of the discriminator, if it has one.

    Returns:
        float (n,), or (n, 1 + classes).
    """
    if outputs.shape[1] > 1:
        return outputs
    logits = outputs.squeeze(1)
    return logits if projection is None else logits + projection(features, labels)


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalisation whose gain and bias are looked up by the label.

    Dumoulin et al., "A Learned Representation for Artistic Style" (2017); de Vries et al.,
    "Modulating early visual processing by language" (2017). Gains start at 1, biases at 0.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(features, affine=False)
        self.gain = nn.Embedding(classes, features)
        self.bias = nn.Embedding(classes, features)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, maps: Tensor, labels: Tensor | None) -> Tensor:
        """float (n, features, h, w), int64 (n,) -> the same shape."""
        gain, bias = self.gain(labels)[:, :, None, None], self.bias(labels)[:, :, None, None]
        return torch.addcmul(bias, self.normalise(maps), gain)


def batch_norm(features: int, classes: int, conditioning: GeneratorConditioning) -> nn.Module:
    """A batch norm that depends on the label, or a plain one; see `run`."""
    if classes and conditioning == "batchnorm":
        return ConditionalBatchNorm2d(features, classes)
    return nn.BatchNorm2d(features)


def run(layer: nn.Module, maps: Tensor, labels: Tensor | None) -> Tensor:
    """Apply ``layer`` to ``maps``, with the labels if it is a conditional batch norm."""
    result: Tensor = (
        layer(maps, labels) if isinstance(layer, ConditionalBatchNorm2d) else layer(maps)
    )
    return result


def halvings(image: ImageShape, network: str = "", player: str = "generator") -> int:
    """How many times an image is halved down to the seed image: until a side is odd or below 8.

    28x28 -> 2 (7x7), 32x32 -> 3 (4x4), 64x64 -> 4 (4x4).

    Raises:
        UserError: for an image that cannot be halved once, naming the ``network`` of a ``player``
            where there are others to choose from.
    """
    height, width, count = image.height, image.width, 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 8:
        height, width, count = height // 2, width // 2, count + 1
    if count == 0 and not network:
        raise UserError(
            f"--data: needs images with even sides of at least 8, these are {height}x{width}; "
            "resize them"
        )
    if count == 0:
        raise UserError(
            f"--{player}.network.name {network}: needs images with even sides of at least 8, "
            f"these are {image.height}x{image.width}; resize them or use the network mlp"
        )
    return count
