"""The sides of the comparison: recipes with the same decoder, and the sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.recipes import recipe


@dataclass(frozen=True)
class Side:
    """A family with its recipe, and what of it is changed on a set."""

    name: str
    recipe: str
    changes: dict[str, Any] = field(default_factory=dict)

    def config(self, data: str, seed: int) -> RunConfig:
        """What a run of it computes, without pictures and evaluations on the way."""
        quiet = {
            "output.sample_every": 10**9,
            "output.checkpoint_every": 10**9,
            "evaluate.every": 0,
        }
        return override(recipe(self.recipe), {**self.changes, **quiet, "data": data, "seed": seed})


_MLP = (
    Side("GAN", "mnist-mlp"),
    Side("VAE", "mnist-vae"),
    Side("VAE-GAN", "mnist-vae-gan"),
)
_WIDTH = 16
_CONVOLUTIONAL_VAE_GAN = {
    **{f"{part}.network.name": "dcgan" for part in ("generator", "discriminator", "encoder")},
    **{f"{part}.network.width": _WIDTH for part in ("generator", "discriminator", "encoder")},
    **{f"{part}.optimizer.lr": 2e-4 for part in ("generator", "discriminator", "encoder")},
    **{f"{part}.optimizer.beta1": 0.5 for part in ("generator", "discriminator", "encoder")},
    **{f"{part}.optimizer.beta2": 0.999 for part in ("generator", "discriminator", "encoder")},
    "discriminator.penalty.r1": 0,
    "discriminator.penalty.every": 0,
    "latent": 128,
    "batch": 128,
}
_CONVOLUTIONS = (
    Side("GAN", "cifar10-dcgan-tiny"),
    Side("VAE", "cifar10-vae", {"encoder.width": _WIDTH, "decoder.width": _WIDTH}),
    Side("VAE-GAN", "mnist-vae-gan", _CONVOLUTIONAL_VAE_GAN),
)
SETS: dict[str, tuple[Side, ...]] = {
    "mnist": _MLP,
    "fashion-mnist": _MLP,
    "cifar10": _CONVOLUTIONS,
}
"""The sides by the set."""

METRICS = ("frechet", "manifold")
"""Of every side."""
ENCODED = ("reconstruction", "reconstruction-frechet")
"""Of those with an encoder."""
BOUNDS = ("elbo",)
"""Of those with a likelihood."""

VALUES = {
    "frechet": "Frechet distance",
    "precision": "precision",
    "recall": "recall",
    "reconstruction-frechet": "Frechet distance of reconstructions",
    "reconstruction-error": "reconstruction error",
    "elbo": "ELBO, nats",
}
"""What the table shows of an evaluation, in its order."""
