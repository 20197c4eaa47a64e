"""What a configuration computes and exchanges in a cycle of updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["gradients", "reduce", "gather", "whole"]
"""Of a message: a bucket of gradients, which travels beside the computing; or what it waits for:
a sum over workers, the collected values of all, or one value of each sample of the batch."""


@dataclass(frozen=True)
class Message:
    """Bytes that each worker hands to one collective operation, and when: ``at`` is the share
    of the update's floating-point operations done by then. Of kind ``whole``, ``size`` is
    what all workers hand over together."""

    at: float
    size: int
    kind: Kind


@dataclass(frozen=True)
class Flops:
    """Floating-point operations, a multiplication and an addition counted as two: ``fixed`` in
    any case and ``per_image`` for each image of a worker's share of a batch."""

    fixed: float
    per_image: float

    def of(self, images: float) -> float:
        """For so many images."""
        return self.fixed + self.per_image * images

    def __sub__(self, other: Flops) -> Flops:
        """What is left without others."""
        return Flops(self.fixed - other.fixed, self.per_image - other.per_image)


@dataclass(frozen=True)
class Update:
    """One update, of the network or networks of a phase.

    Args:
        network: the name of the phase.
        convolutions: operations in convolutions.
        products: operations in products of matrices.
        kernels: operations on tensors, each of which a GPU must be told.
        parameters: those that the update changes.
        exact_convolutions: those of ``convolutions`` that bf16 leaves in float32, as a network
            whose gradients are penalised.
        exact_products: the same of ``products``.
        half_convolutions: those of ``convolutions`` that a network computes in bfloat16 by itself,
            whatever the precision.
        half_products: the same of ``products``.
    """

    network: str
    convolutions: Flops
    products: Flops
    kernels: int
    parameters: int
    messages: tuple[Message, ...]
    exact_convolutions: Flops = Flops(0, 0)
    exact_products: Flops = Flops(0, 0)
    half_convolutions: Flops = Flops(0, 0)
    half_products: Flops = Flops(0, 0)

    def flops(self, images: float) -> float:
        """Of both kinds."""
        return self.convolutions.of(images) + self.products.of(images)


@dataclass(frozen=True)
class Work:
    """A cycle: as many steps as it takes until every network has had its turn.

    Args:
        batches: steps, and so batches of real images, in a cycle.
    """

    updates: Sequence[Update]
    batches: int = 1

    def flops(self, images: float) -> float:
        """Of a cycle, for so many images of each batch."""
        return sum(update.flops(images) for update in self.updates)

    @property
    def kernels(self) -> int:
        """Of a cycle."""
        return sum(update.kernels for update in self.updates)

    @property
    def updated(self) -> int:
        """Parameters changed in a cycle, those of each of the discriminator's updates counted."""
        return sum(update.parameters for update in self.updates)

    @property
    def gradient_bytes(self) -> int:
        """What each worker hands over of gradients in a cycle."""
        return sum(m.size for u in self.updates for m in u.messages if m.kind == "gradients")
