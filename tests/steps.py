"""Adversarial steps on bare networks, for tests that write them out otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.data.feed import Feed, SampleSource
from distgan.data.images import ImageSet
from distgan.families import Batch, DataSpec, Family, build
from distgan.families.adversarial import AdversarialTerms
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.network import TrainableNetwork
from distgan.training.update import TrainingStep, bfloat16, full_precision


def batch_of(
    real: Tensor,
    labels: Tensor | None,
    discriminator_latent: Tensor,
    generator_latent: Tensor,
    *,
    weight: float = 1.0,
    augment: Sequence[Tensor | None] = (),
    penalty: Mapping[str, Tensor] | None = None,
) -> Batch:
    """A GAN's batch; ``augment`` holds the numbers for reals, fakes, and G's fakes."""
    columns = {"image": real, **({} if labels is None else {"label": labels})}
    draws = {"discriminator": discriminator_latent, "generator": generator_latent}
    for use, numbers in zip(("real", "fake", "generator"), augment, strict=False):
        draws |= {} if numbers is None else {f"augment-{use}": numbers}
    draws |= {f"penalty-{name}": numbers for name, numbers in (penalty or {}).items()}
    return Batch(columns, draws, weight)


def adversarial_step(
    generator: TrainableNetwork,
    discriminator: TrainableNetwork,
    terms: AdversarialTerms,
    batches: Sequence[Batch],
    half: bool = False,
) -> dict[str, Tensor]:
    """Update the discriminator, then the generator; ``half`` for bfloat16 autocast."""
    networks = {"generator": generator, "discriminator": discriminator}
    autocast = bfloat16(torch.device("cpu")) if half else full_precision
    return TrainingStep(networks, autocast=autocast).run(terms.phases(0), batches)


def feed_of(source: SampleSource, config: RunConfig, image: ImageShape, world: World) -> Feed:
    """What a run of the configuration is fed from a source; ten labels where it wants them."""
    family = build(config, DataSpec.numbered(image, 10), world)
    return Feed(source, family.columns(), family.draws(), config, world)


def family_of(images: ImageSet, **changes: Any) -> Family:
    """A GAN of two layers for a set."""
    config = override(recipe("mnist-mlp-tutorial"), changes)
    return build(config, DataSpec(images.shape, images.classes))
