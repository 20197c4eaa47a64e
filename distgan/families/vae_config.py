"""The configuration of a variational autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass

from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import RunConfig
from distgan.config.schedule import Schedule, Strength
from distgan.config.settings import SETTINGS, Width
from distgan.networks.vae import DecoderNetwork, EncoderNetwork
from distgan.objectives.likelihoods import BernoulliSettings, GaussianSettings, Likelihood


def _adam() -> AdamSettings:
    return AdamSettings(lr=Schedule(1e-3), beta1=Schedule(0.9), beta2=Schedule(0.999))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class VAEConfig(RunConfig):
    """Everything that decides what a run of a VAE computes, whatever it runs on."""

    family: Literal["vae"] = "vae"
    """The family of models. Decides what other settings there are."""
    latent: Width = 20
    """Length of the latent vector z."""
    conditional: bool = False
    """Give both networks the labels."""
    beta: Strength = Schedule(1)
    """Weight of the divergence; 0:1:500k:linear warms up to the ELBO (Bowman et al. 2016), more
    than 1 is a beta-VAE (Higgins et al. 2017)."""
    importance_samples: PositiveInt = 1
    """Latent vectors drawn for each image, k. With more than 1 the importance-weighted bound (IWAE,
    Burda et al. 2016) takes the place of the ELBO: it is tighter, and the decoder costs k times as
    much."""
    free_bits: NonNegativeFloat = 0.0
    """Nats of divergence in each latent dimension that cost nothing more (Kingma et al. 2016)."""
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""
    encoder: EncoderNetwork
    decoder: DecoderNetwork
    likelihood: Likelihood = field(default_factory=BernoulliSettings)
    optimizer: AdamSettings = field(default_factory=_adam)
    ema: EMASettings = field(default_factory=EMASettings)

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from RunConfig.contradictions(self)
        if self.health.change != "halve-lr":
            yield (
                f"--health.change {self.health.change}: a VAE has no penalty R1 to double after a "
                "rollback; use halve-lr"
            )
        if isinstance(self.likelihood, GaussianSettings):
            yield from _of_variance(self.likelihood)
        if self.importance_samples > 1:
            yield from self._of_importance_samples()

    def _of_importance_samples(self) -> Iterator[str]:
        """What the importance-weighted bound cannot be had with."""
        given = f"--importance_samples {self.importance_samples}"
        if self.beta != Schedule(1):
            yield f"--beta {self.beta}: the bound of {given} has no weight of its own; use --beta 1"
        if self.free_bits:
            yield (
                f"--free_bits {self.free_bits:g}: the bound of {given} has no divergence to set "
                "free; use --free_bits 0"
            )
        if isinstance(self.likelihood, GaussianSettings) and self.likelihood.variance == "optimal":
            yield (
                f"--likelihood.variance optimal: is of a whole batch, and {given} weighs single "
                "images; use --likelihood.variance learned"
            )

    def idle(self) -> Iterator[tuple[str, str]]:
        """As `RunConfig.idle`: of labels and the moving average."""
        yield from RunConfig.idle(self)
        if not self.conditional:
            for part in ("encoder", "decoder"):
                yield f"{part}.embedding", "without --conditional true"
        if self.ema.half_life.is_zero:
            yield "ema.ramp_up", "with --ema.half_life 0"

    def search_space(self) -> dict[str, str]:
        """What is worth trying for any recipe, by what VAEs are known to be sensitive to.

        The learning rate, the decays of Adam, the length of z, the weight of the divergence
        (Higgins et al. 2017), free bits, the half-life of the moving average and the batch.
        """
        wanted = (self.batch // 2, self.batch, 2 * self.batch)
        batches = [b for b in wanted if b and b % self.accumulate == 0]
        latents = sorted({max(1, self.latent // 2), self.latent, 2 * self.latent})
        average = "choice(0, 5000, 20000)" if self.ema.half_life.is_zero else "scale(0.1, 3)"
        return {
            "optimizer.lr": "scale(0.1, 10)",
            "optimizer.beta1": "choice(0, 0.5, 0.9)",
            "latent": f"choice({', '.join(map(str, latents))})",
            "beta": "choice(0.1, 1)" if self.beta.is_zero else "scale(0.1, 4)",
            "free_bits": "choice(0, 0.05, 0.2)",
            "ema.half_life": average,
            "batch": f"choice({', '.join(map(str, batches))})",
        }


def _of_variance(likelihood: GaussianSettings) -> Iterator[str]:
    """Settings of one kind of variance that were given to another."""
    kind = f"--likelihood.variance {likelihood.variance}"
    if likelihood.variance != "fixed" and likelihood.scale != 1:
        yield (
            f"--likelihood.scale {likelihood.scale:g}: has no effect with {kind}; use "
            "--likelihood.variance fixed, or leave it out"
        )
    if likelihood.variance != "learned" and likelihood.scales != "one":
        yield (
            f"--likelihood.scales {likelihood.scales}: has no effect with {kind}; use "
            "--likelihood.variance learned, or leave it out"
        )
