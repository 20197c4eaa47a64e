"""The variational autoencoder: an encoder and a decoder that maximise a bound of log p(x).

Kingma and Welling, "Auto-Encoding Variational Bayes" (ICLR 2014), equation 3:

    ELBO = E_q[log p(x|z)] - KL(q(z|x) || N(0, I)),

with one z of each sample. It is in nats, summed over pixels, channels and latent dimensions, and
averaged over samples alone. Minimised is -E_q[log p(x|z)] + beta KL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from distgan.families.autoencoder import Autoencoder
from distgan.families.base import Family, Interface, Network
from distgan.families.data import Batch, DataSpec, Draw
from distgan.families.terms import Coupled, Phase, Step, Terms
from distgan.families.vae_config import VAEConfig
from distgan.health.diagnosis import Rule
from distgan.health.variational import rules
from distgan.metrics.likelihood import log_weights
from distgan.metrics.names import METRICS
from distgan.networks.vae import LOG_VARIANCES, Decoded, Posterior, VariationalAutoencoder
from distgan.objectives.likelihoods import BernoulliSettings, binarised
from distgan.objectives.variational import (
    divergence_by_dimension,
    free_bits,
    importance_weighted,
    squared_error,
)
from distgan.parallel import World

STATISTICS = ("reconstruction", "kl_cost", "kl", "squared_error", "at_bounds")
"""What is recorded, in nats a sample: -E_q[log p(x|z)] and beta times the divergence with its free
bits, whose sum is minimised; the divergence itself; the mean over pixels of the squared difference
of x and E[x|z], for pixels in [-1, 1]; and the share of the encoder's log variances that are at
their bounds. With several z of each image the sum is the negative importance-weighted bound."""


class VAE(Family):
    """Kingma and Welling 2014, with the networks, likelihoods and weights of `VAEConfig`.

    Both networks are one role, so that they have one exchange of gradients and one average.
    """

    statistics = STATISTICS
    signs: ClassVar[Mapping[str, str]] = {"autoencoder": "a"}
    averaged = ("autoencoder",)
    metrics = METRICS
    config: VAEConfig

    def __init__(self, config: VAEConfig, data: DataSpec, world: World) -> None:
        super().__init__(config, data, world)
        self._likelihood = config.likelihood
        self._dimensions = math.prod(data.image)
        self._beta = config.beta.at(0)
        self._learned: Tensor | None = None

    @property
    def conditional(self) -> bool:
        """Whether the networks take labels."""
        return self.config.conditional

    def draws(self) -> dict[str, Draw]:
        """The noise of the reparameterisation, and what binarises pixels."""
        noise = self.config.importance_samples * self.config.latent
        found = {"noise": Draw("normal", noise)}
        likelihood = self._likelihood
        if isinstance(likelihood, BernoulliSettings) and likelihood.binarise:
            found["binarise"] = Draw("uniform", self._dimensions)
        return found

    def networks(self) -> dict[str, Network]:
        """The autoencoder, of which an average is kept."""
        config, image, likelihood = self.config, self.data.image, self._likelihood
        encoder = config.encoder.build(image, config.latent, self.labels)
        decoder = config.decoder.build(
            image,
            config.latent,
            self.labels,
            "logits" if likelihood.logits else "image",
            likelihood.learned_scales(image.channels),
        )
        autoencoder = VariationalAutoencoder(encoder, decoder)
        label = torch.zeros(1, dtype=torch.int64) if self.labels else None
        noise = torch.zeros(1, config.importance_samples * config.latent)
        example = (torch.zeros(1, *image), noise, label)
        return {
            "autoencoder": Network(
                autoencoder, example, config.optimizer, config.clip_norm, average=config.ema
            )
        }

    def phases(self, images_seen: int) -> Sequence[Phase]:
        """One update of encoder and decoder together."""
        coupled = self._likelihood.couples
        return (Phase("autoencoder", ("autoencoder",), self._terms, coupled=coupled),)

    def _terms(self, step: Step, batch: Batch, given: Any) -> Terms:
        images = batch.columns["image"]
        if "binarise" in batch.draws:
            images = binarised(images, batch.draws["binarise"])
        with step.autocast():
            posterior, decoded = step["autoencoder"](images, batch.draws["noise"], batch.labels)
        if self.config.importance_samples > 1:
            return self._importance_weighted(images, posterior, decoded, batch.draws["noise"])
        rows = self._likelihood.rows(images, decoded.images, decoded.log_scale)
        of_batch = partial(self._likelihood.of_batch, dimensions=self._dimensions)
        coupled = {"reconstruction": Coupled((rows,), of_batch)} if self._likelihood.couples else {}
        if step.only_coupled:
            return Terms(coupled=coupled)
        divergences = divergence_by_dimension(*posterior)
        beta = self.config.beta.at(step.images_seen)
        cost = beta * free_bits(divergences, self.config.free_bits).mean()
        means = {} if coupled else {"reconstruction": of_batch(rows)}
        observed = self._observed(images, posterior, decoded)
        return Terms({**means, "kl_cost": cost}, coupled, observed)

    def _importance_weighted(
        self, images: Tensor, posterior: Posterior, decoded: Decoded, noise: Tensor
    ) -> Terms:
        """Burda et al. 2016, equation 8, as what a single z would cost on average and the rest."""
        count = self.config.importance_samples
        images = images.repeat_interleave(count, dim=0)
        rows = self._likelihood.rows(images, decoded.images, decoded.log_scale).view(-1, count)
        weights = log_weights(-rows, noise.view(len(rows), count, -1), *posterior)
        bound = importance_weighted(weights).mean().to(rows.dtype)
        reconstruction = rows.mean()
        means = {"reconstruction": reconstruction, "kl_cost": -bound - reconstruction}
        observed = self._observed(images, posterior, decoded)
        observed["squared_error"] = observed["squared_error"].view(-1, count).mean(1)
        return Terms(means, observed=observed)

    @torch.no_grad()
    def _observed(
        self, images: Tensor, posterior: Posterior, decoded: Decoded
    ) -> dict[str, Tensor]:
        errors = squared_error(images, self._likelihood.means(decoded.images))
        return {
            "kl": divergence_by_dimension(*posterior).sum(1).to(errors.dtype),
            "squared_error": errors / self._dimensions,
            "at_bounds": share_at_bounds(posterior).to(errors.dtype),
        }

    def before_step(self, images_seen: int) -> None:
        """Follow the schedule of beta, for records."""
        self._beta = self.config.beta.at(images_seen)

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """What is minimised, and the ELBO, in nats a sample."""
        return {
            "loss": means["reconstruction"] + means["kl_cost"],
            "elbo": -means["reconstruction"] - means["kl"],
        }

    def gauges(self) -> dict[str, float]:
        """The weight of the divergence, and the log of a learned scale, its mean over channels."""
        return {"beta": self._beta, **self._log_scale()}

    def health_signs(self, images_seen: int) -> dict[str, float]:
        """The log of a learned scale."""
        return self._log_scale()

    def _log_scale(self) -> dict[str, float]:
        if self._learned is None:
            return {}
        return {"log_scale": self._likelihood.log_scale(self._learned.detach()).mean().item()}

    def after_step(self, networks: Mapping[str, nn.Module]) -> None:
        """Remember where a learned scale is."""
        if self._likelihood.learned_scales(self.data.image.channels):
            self._learned = networks["autoencoder"].get_parameter("decoder.log_scale")

    def inputs(self) -> dict[str, Draw]:
        """z, of the prior."""
        return {"z": Draw("normal", self.config.latent)}

    def generate(self, networks: Mapping[str, nn.Module], batch: Batch) -> Tensor:
        """E[x|z], float (n, c, h, w): the mean of the decoder's distribution, not a draw of it."""
        decoder = networks["autoencoder"].get_submodule("decoder")
        return self._likelihood.means(decoder(batch.draws["z"], batch.labels).images)

    def autoencoder(self, networks: Mapping[str, nn.Module]) -> Autoencoder | None:
        """Both networks, and the likelihood."""
        network = networks["autoencoder"]
        encoder, decoder = network.get_submodule("encoder"), network.get_submodule("decoder")
        return Autoencoder(encoder, decoder, self._likelihood, self.config.latent)

    def lacks(self, metric: str) -> str:
        """As of every family, and bits of a likelihood that is none."""
        if metric == "bits-per-dimension" and self._likelihood.kind == "cross entropy of greys":
            return (
                "the cross entropy of grey pixels bounds no probability of an image; train with "
                "--likelihood.name discretised-logistic, or with --likelihood.binarise true for "
                "black and white pixels"
            )
        return super().lacks(metric)

    def interfaces(self) -> dict[str, Interface]:
        """The autoencoder; images come of its decoder."""
        label = {"label": self.labels} if self.labels else {}
        return {"autoencoder": Interface({"z": self.config.latent, **label}, "images", True)}

    def health_rules(self) -> tuple[Rule, ...]:
        """Those of every family, a posterior that collapsed, and variances at their bounds."""
        return rules(super().health_rules(), self.config.latent, self._likelihood.least_log_scale)


def share_at_bounds(posterior: Posterior) -> Tensor:
    """The share of a sample's log variances that are at a bound, float (n,)."""
    low, high = LOG_VARIANCES
    values = posterior.log_variance
    return ((values <= low) | (values >= high)).to(values.dtype).mean(1)
