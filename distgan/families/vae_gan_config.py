"""The configuration of an autoencoder that a discriminator trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass

from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.schedule import Schedule, Strength
from distgan.config.settings import SETTINGS, Width
from distgan.families.gan_config import GANConfig
from distgan.networks.vae import EncoderNetwork
from distgan.objectives.adversarial import LOSSES


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EncoderConfig:
    """The encoder and what trains it."""

    network: EncoderNetwork
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    ema: EMASettings = field(default_factory=EMASettings)
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class VAEGANConfig(GANConfig):
    """Everything that decides what a run of a VAE-GAN computes, whatever it runs on."""

    family: Literal["vae-gan"] = "vae-gan"  # type: ignore[assignment]
    """The family of models. Decides what other settings there are."""
    latent: Width = 20
    """Length of the latent vector z."""
    conditional: bool = False
    """Give all networks the labels."""
    share_fakes: bool = True
    """Update the discriminator with the fakes that the generator was just updated with, as
    published; without, with new fakes of the updated networks."""
    beta: Strength = Schedule(1)
    """Weight of the divergence in the encoder's loss."""
    free_bits: NonNegativeFloat = 0.0
    """Nats of divergence in each latent dimension that cost nothing more (Kingma et al. 2016)."""
    gamma: Strength = Schedule(0.03)
    """Weight of the reconstruction error R in the generator's loss; that of the adversarial loss is
    1."""
    feature_layer: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Hidden layer of the discriminator in which reconstructions are compared, 1 being nearest to
    the images."""
    rest_margin: NonNegativeFloat = 0.0
    """Skip the discriminator's update in a step if in the last one its cross entropy on reals or on
    fakes was below ln 2 by more than this many nats, and the generator's if one was above by more;
    neither if both hold. 0: never skip."""
    encoder: EncoderConfig

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from GANConfig.contradictions(self)
        if self.rest_margin and not LOSSES[self.loss].probability:
            yield (
                f"--rest_margin {self.rest_margin:g}: is of cross entropies, and with --loss "
                f"{self.loss} logits are no probabilities; use --loss non-saturating, or 0"
            )

    def idle(self) -> Iterator[tuple[str, str]]:
        """As `GANConfig.idle`, and of the encoder."""
        yield from GANConfig.idle(self)
        if not self.conditional:
            yield "encoder.network.embedding", "without --conditional true"
        if self.encoder.ema.half_life.is_zero:
            yield "encoder.ema.ramp_up", "with --encoder.ema.half_life 0"

    def search_space(self) -> dict[str, str]:
        """As `GANConfig.search_space`, and the encoder's rate, the length of z, and the weights of
        the divergence and of the reconstruction (Larsen et al. 2016, section 4)."""
        latents = sorted({max(1, self.latent // 2), self.latent, 2 * self.latent})
        return {
            **GANConfig.search_space(self),
            "encoder.optimizer.lr": "ratio(generator.optimizer.lr, 0.25, 4)",
            "latent": f"choice({', '.join(map(str, latents))})",
            "beta": "choice(0.1, 1)" if self.beta.is_zero else "scale(0.1, 10)",
            "gamma": "choice(0.003, 0.03, 0.3)" if self.gamma.is_zero else "scale(0.1, 10)",
        }
