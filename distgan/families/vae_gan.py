"""An autoencoder that compares images in the features of a discriminator.

Larsen et al., "Autoencoding beyond pixels using a learned similarity metric" (ICML 2016). The
decoder is the generator of a GAN. Write D_l(x) for a hidden layer of the discriminator, x' for the
reconstruction of x from one z of q(z|x), and R = -log N(D_l(x); D_l(x'), I), up to a constant, for
what the reconstruction costs. Of algorithm 1, the

- encoder minimises beta KL(q(z|x) || N(0, I)) + R,
- generator minimises gamma R + its adversarial loss on reconstructions and on samples of the prior,
- discriminator tells both of them from reals.

All three gradients are taken before any of the networks moves. Here reconstructions and samples of
the prior count as much together as the reals do, where the paper counts each of them as much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from distgan.errors import UserError
from distgan.families import adversarial
from distgan.families.adversarial import Fakes, Judgement
from distgan.families.autoencoder import Autoencoder
from distgan.families.balance import Balance
from distgan.families.base import Interface, Network, Stateful
from distgan.families.data import Batch, DataSpec, Draw
from distgan.families.gan import GAN
from distgan.families.terms import Phase, Step, Terms
from distgan.families.vae import share_at_bounds
from distgan.families.vae_gan_config import VAEGANConfig
from distgan.health.diagnosis import Rule
from distgan.health.variational import encoder_rules
from distgan.metrics.names import AUTOENCODER_METRICS, IMAGE_METRICS
from distgan.networks.base import FeatureDiscriminator
from distgan.networks.vae import Decoded, Posterior
from distgan.objectives.variational import divergence_by_dimension, free_bits, squared_error
from distgan.parallel import World

STATISTICS = (
    *adversarial.STATISTICS,
    *("reconstruction", "g_reconstruction", "kl_cost", "kl", "squared_error", "at_bounds"),
)
"""What is recorded besides a GAN's: R, and gamma R as the generator pays it; beta times the
divergence with its free bits, and the divergence itself, in nats a sample; the mean over pixels of
the squared difference of x and x', for pixels in [-1, 1]; and the share of the encoder's log
variances that are at their bounds."""

_OF_LIKELIHOODS = ("elbo", "iwae", "bits-per-dimension")
_CODES, _FAKES = "codes of micro-batches", "fakes of micro-batches"


class VAEGAN(GAN):
    """Larsen et al. 2016, with the losses, penalties, networks and weights of `VAEGANConfig`."""

    statistics = STATISTICS
    signs: ClassVar[Mapping[str, str]] = {"encoder": "e", **GAN.signs}
    averaged = ("encoder", "generator")
    metrics = tuple(
        name for name in IMAGE_METRICS + AUTOENCODER_METRICS if name not in _OF_LIKELIHOODS
    )
    config: VAEGANConfig

    def __init__(self, config: VAEGANConfig, data: DataSpec, world: World) -> None:
        super().__init__(config, data, world)
        self._balance = Balance(config.rest_margin, world.device)
        self._terms = replace(self._terms, watch=self._balance.observe)
        self._rested = ""

    def draws(self) -> dict[str, Draw]:
        """The noise of the reparameterisation, and what a GAN draws."""
        found = {"noise": Draw("normal", self.config.latent), **super().draws()}
        size = self.config.discriminator.augment.numbers
        if size:
            found["augment-reconstruction"] = Draw("uniform", size)
        return found

    def networks(self) -> dict[str, Network]:
        """The encoder, the generator, averages of both, and the discriminator.

        Raises:
            UserError: for a discriminator without the layer that features are to be of.
        """
        config, e = self.config, self.config.encoder
        encoder = e.network.build(self.data.image, config.latent, self.labels)
        others = super().networks()
        self._check_layer(getattr(others["discriminator"].module, "depth", 0))
        example, every = others["discriminator"].example, others["generator"].every
        trained = Network(encoder, example, e.optimizer, e.clip_norm, average=e.ema, every=every)
        return {"encoder": trained, **others}

    def _check_layer(self, depth: int) -> None:
        name, layer = self.config.discriminator.network.name, self.config.feature_layer
        if not depth:
            raise UserError(
                f"--discriminator.network.name {name}: gives no features of its hidden layers, "
                "which a vae-gan compares images in; use mlp, dcgan or sngan"
            )
        if layer > depth:
            raise UserError(
                f"--feature_layer {layer}: the discriminator {name} has {depth} hidden layers for "
                f"these images; use 1 to {depth}"
            )

    def phases(self, images_seen: int) -> Sequence[Phase]:
        """The updates of encoder, generator and discriminator, but for one that rests."""
        turn, resting = self.generators_turn(images_seen), self._resting(images_seen)
        discriminator, *_ = self._terms.phases(images_seen)
        found = []
        if turn:
            through = ("generator", "discriminator")
            found.append(
                Phase("encoder", ("encoder",), self._encoder_terms, self._features, through)
            )
        if turn and resting != "generator":
            coupled = self._terms.loss.couples or self._terms.top_k.at(images_seen) < 1
            found.append(
                Phase(
                    "generator",
                    ("generator",),
                    self._generator_terms,
                    self._codes,
                    through=("discriminator",),
                    coupled=coupled,
                )
            )
        if resting != "discriminator":
            found.append(replace(discriminator, given=self._fakes))
        return found

    def _resting(self, images_seen: int) -> str:
        # Where the discriminator has several updates in a row, nobody rests before the last.
        return self._balance.resting if self.generators_turn(images_seen) else ""

    @torch.no_grad()
    def _features(self, step: Step, batch: Batch) -> tuple[Judgement, Tensor]:
        """The discriminator's judgement of the reals, and their features."""
        return self._look(step, batch, batch.columns["image"])

    def _look(self, step: Step, batch: Batch, images: Tensor) -> tuple[Judgement, Tensor]:
        # Reals and their reconstructions are augmented alike: only so they compare.
        network = cast(FeatureDiscriminator, step["discriminator"])
        seen = self._augment(images, batch.draws.get("augment-real"))
        with step.autocast():
            outputs, features = network.with_features(seen, batch.labels, self.config.feature_layer)
        return Judgement.of_outputs(outputs), features

    def _encode(self, step: Step, batch: Batch) -> tuple[Posterior, Tensor]:
        """q(z|x), and a draw of it."""
        with step.autocast():
            posterior: Posterior = step["encoder"](batch.columns["image"], batch.labels)
            return posterior, posterior.draw(batch.draws["noise"])

    def _decode(self, step: Step, batch: Batch, z: Tensor, kind: str) -> Tensor:
        with step.autocast(), step.samples(kind):
            images: Tensor = step["generator"](z, batch.labels)
        return images.to(batch.columns["image"].dtype)

    def _encoder_terms(self, step: Step, batch: Batch, real: tuple[Judgement, Tensor]) -> Terms:
        posterior, z = self._encode(step, batch)
        step.kept.setdefault(_CODES, []).append(z.detach())
        made = self._decode(step, batch, z, "reconstruction")
        _, features = self._look(step, batch, made)
        divergences = divergence_by_dimension(*posterior)
        beta = self.config.beta.at(step.images_seen)
        means = {
            "reconstruction": squared_error(real[1], features).mean() / 2,
            "kl_cost": beta * free_bits(divergences, self.config.free_bits).mean(),
        }
        with torch.no_grad():
            errors = squared_error(batch.columns["image"], made) / made[0].numel()
            observed = {
                "kl": divergences.sum(1).to(errors.dtype),
                "squared_error": errors,
                "at_bounds": share_at_bounds(posterior).to(errors.dtype),
            }
        return Terms(means, observed=observed)

    @torch.no_grad()
    def _codes(self, step: Step, batch: Batch) -> tuple[Tensor, Judgement, Tensor]:
        """A draw of q(z|x) by the encoder before this step, and what `_features` gives."""
        z = _first(step, _CODES, lambda: self._encode(step, batch)[1])
        return (z, *self._features(step, batch))

    def _generator_terms(
        self, step: Step, batch: Batch, given: tuple[Tensor, Judgement, Tensor]
    ) -> Terms:
        z, real, real_features = given
        reconstruction = self._decode(step, batch, z, "reconstruction")
        fake = self._decode(step, batch, batch.draws["generator"], "fake")
        of_reconstruction, features = self._look(step, batch, reconstruction)
        seen = self._augment(fake, batch.draws.get("augment-generator"))
        with step.autocast():
            of_fake = Judgement.of(step["discriminator"], seen, batch.labels)
        judged, logits = [of_fake, of_reconstruction], real.logits
        relative = logits if self._terms.loss.relative else None
        terms = self._terms.terms_of_judged(step, batch.labels, judged, relative)
        if step.only_coupled:
            return terms
        if self.config.share_fakes:
            made = {"fake": fake.detach(), "reconstruction": reconstruction.detach()}
            step.kept.setdefault(_FAKES, []).append(made)
        gamma = self.config.gamma.at(step.images_seen)
        cost = gamma * squared_error(real_features, features).mean() / 2
        terms = replace(terms, means={**terms.means, "g_reconstruction": cost})
        if self._resting(step.images_seen) != "discriminator":
            return terms
        # The discriminator's update, which does not come, would have said so.
        fakes = [each.logits.detach() for each in judged]

        def note(share: float) -> None:
            self._balance.observe(logits, torch.cat(fakes), share)

        return replace(terms, observed=adversarial.observed(logits, fakes), note=note)

    @torch.no_grad()
    def _fakes(self, step: Step, batch: Batch) -> Fakes:
        """Samples of the prior and reconstructions."""

        def encode() -> Tensor:
            return self._encode(step, batch)[1]

        def make() -> Fakes:
            share = self.config.share_fakes
            latents = {
                "fake": batch.draws["generator" if share else "discriminator"],
                "reconstruction": _first(step, _CODES, encode) if share else encode(),
            }
            return {kind: self._decode(step, batch, z, kind) for kind, z in latents.items()}

        found: Fakes = _first(step, _FAKES, make)
        return found

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """As of a GAN, and what the encoder minimises."""
        return {**super().derived(means), "e_loss": means["reconstruction"] + means["kl_cost"]}

    def autoencoder(self, networks: Mapping[str, nn.Module]) -> Autoencoder | None:
        """The encoder and the generator; there is no likelihood of images."""
        generator = networks["generator"]

        def decoder(z: Tensor, labels: Tensor | None) -> Decoded:
            return Decoded(generator(z, labels), None)

        return Autoencoder(networks["encoder"], decoder, None, self.config.latent)

    def lacks(self, metric: str) -> str:
        """As of every family, and likelihoods of images, of which there are none."""
        if metric in _OF_LIKELIHOODS:
            return (
                "a vae-gan compares features of its discriminator and has no likelihood of "
                "images; measure reconstruction or reconstruction-frechet, or train a vae"
            )
        return super().lacks(metric)

    def interfaces(self) -> dict[str, Interface]:
        """The encoder, and both networks of a GAN."""
        label = {"label": self.labels} if self.labels else {}
        encoder = Interface({"images": list(self.data.image), **label}, "code")
        return {"encoder": encoder, **super().interfaces()}

    def health_rules(self) -> tuple[Rule, ...]:
        """Those of a GAN, of a posterior that collapsed or explodes, and of variances."""
        first, *others = super().health_rules()
        return (first, *encoder_rules(self.config.latent), *others)

    def extra_state(self) -> dict[str, Stateful]:
        """As of a GAN, and who rests in the next step."""
        balance = {"balance": self._balance} if self.config.rest_margin else {}
        return {**super().extra_state(), **balance}

    def before_step(self, images_seen: int) -> None:
        """As of a GAN."""
        super().before_step(images_seen)
        self._rested = self._resting(images_seen)

    def after_step(self, networks: Mapping[str, nn.Module]) -> None:
        """As of a GAN, if its discriminator was updated; then decide who rests in the next step."""
        if self._rested != "discriminator":
            super().after_step(networks)
        self._balance.after_step(self.world)


def _first(step: Step, name: str, make: Callable[[], Any]) -> Any:
    """What an earlier phase of the step left for this micro-batch, or the same made anew."""
    kept = step.kept.get(name)
    return kept.pop(0) if kept else make()
