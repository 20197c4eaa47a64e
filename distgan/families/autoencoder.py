"""A trained model with an encoder, as measurements and users see it.

Write x for an image, z for its latent vector, q(z|x) for the encoder's diagonal Gaussian and
p(x|z) for the decoder's likelihood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from distgan.networks.vae import Decoded, Posterior
from distgan.objectives.likelihoods import Kind, LikelihoodModel
from distgan.objectives.variational import squared_error


@dataclass(frozen=True)
class Autoencoder:
    """Networks in eval mode, and the likelihood of which they are.

    Everything is of the networks' device and dtype, without gradients; the likelihood and what
    else is summed over pixels in float64.

    Args:
        encoder: maps images and labels to a `Posterior`.
        decoder: maps z and labels to `Decoded`.
        likelihood: None for a model without one, whose decoder gives E[x|z].
        latent: length of z.
    """

    encoder: nn.Module
    decoder: Callable[[Tensor, Tensor | None], Decoded]
    likelihood: LikelihoodModel | None
    latent: int

    @property
    def kind(self) -> Kind | None:
        """What the likelihood is of."""
        return None if self.likelihood is None else self.likelihood.kind

    @property
    def title(self) -> str:
        """Of the likelihood, for people; empty without one."""
        return "" if self.likelihood is None else self.likelihood.title

    @property
    def couples(self) -> bool:
        """Whether the likelihood has to be `calibrated`."""
        return self.likelihood is not None and self.likelihood.couples

    @torch.no_grad()
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Posterior:
        """q(z|x): float (n, c, h, w) in [-1, 1], int64 (n,) or None -> float (n, latent) twice."""
        found: Posterior = self.encoder(images.to(self._like), labels)
        return found

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """E[x|z] in [-1, 1]: float (n, latent), int64 (n,) or None -> float (n, c, h, w)."""
        found = self._decoded(z, labels).images
        return found if self.likelihood is None else self.likelihood.means(found)

    def log_likelihood(self, images: Tensor, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x|z) in nats, float64 (n,), of the images, (n, c, h, w), in this order.

        Raises:
            RuntimeError: where there is none, or one that still has to be `calibrated`.
        """
        if self.likelihood is None:
            raise RuntimeError("this model has no likelihood")
        if self.couples:
            raise RuntimeError("this likelihood is of a whole batch: see `calibrated`")
        output, scale = self._decoded(z, labels)
        learned = None if scale is None else scale.double()
        return -self.likelihood.rows(images.to(output.device).double(), output.double(), learned)

    def squared_error(self, images: Tensor, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The sum over pixels of (x - E[x|z])^2, for pixels in [-1, 1]: float64 (n,)."""
        made = self.decode(z, labels).double()
        return squared_error(images.to(made), made)

    def calibrated(self, mean_squared_error: float) -> Autoencoder:
        """See `LikelihoodModel.calibrated`."""
        assert self.likelihood is not None
        return replace(self, likelihood=self.likelihood.calibrated(mean_squared_error))

    @torch.no_grad()
    def _decoded(self, z: Tensor, labels: Tensor | None) -> Decoded:
        return self.decoder(z.to(self._like), labels)

    @property
    def _like(self) -> Tensor:
        return next(self.encoder.parameters())
