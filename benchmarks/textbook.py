"""The loop that a reader of tutorials writes, in plain PyTorch.

The order is that of PyTorch's DCGAN example: D on reals, D on detached fakes, one backward
each, Adam as it comes; G through the updated D on the same fakes; the losses read every step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, linear, relu

from distgan.networks.kernels.linear import Linear
from distgan.networks.spectral import spectral_norms

RATE, BETAS = 2e-4, (0.5, 0.999)
"""Adam's, as in Radford et al. 2016 and every tutorial since."""


class _TorchLinear(Linear):
    """distgan's layer with torch's own product."""

    def forward(self, input: Tensor, relu: bool = False) -> Tensor:
        product = linear(input, self.weight, self.bias)
        return product.relu_() if relu else product


def in_plain_torch(network: nn.Module) -> nn.Module:
    """The network as anybody would have it who writes the same layers with `torch.nn`."""
    for part in network.modules():
        if type(part) is Linear:
            part.__class__ = _TorchLinear
    return network


class Textbook:
    """Both networks and their optimizers.

    Args:
        hinge: the hinge loss in place of the cross entropy.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, hinge: bool = False) -> None:
        self.generator, self.discriminator, self._hinge = generator, discriminator, hinge
        self._norms = spectral_norms(discriminator)
        self._optimizers = [
            torch.optim.Adam(network.parameters(), lr=RATE, betas=BETAS)
            for network in (generator, discriminator)
        ]

    def step(
        self, real: Tensor, latent: Tensor, discriminators: Tensor | None = None
    ) -> tuple[float, float]:
        """Update D, then G.

        Args:
            real: float (n, c, h, w) in [-1, 1].
            latent: float (n, latent), of the fakes that both updates see.
            discriminators: other latents for D's update; G then runs twice.

        Returns:
            the losses of D and of G.
        """
        self.discriminator.zero_grad()
        on_real = self._judge(real, 1.0)
        on_real.backward()  # type: ignore[no-untyped-call]
        fake = self.generator(latent if discriminators is None else discriminators)
        on_fake = self._judge(fake.detach(), 0.0)
        on_fake.backward()  # type: ignore[no-untyped-call]
        self._optimizers[1].step()
        self.generator.zero_grad()
        if discriminators is not None:
            fake = self.generator(latent)
        fooled = self._judge(fake, 1.0, generating=True)
        fooled.backward()  # type: ignore[no-untyped-call]
        self._optimizers[0].step()
        return (on_real + on_fake).item(), fooled.item()

    def _judge(self, images: Tensor, target: float, generating: bool = False) -> Tensor:
        # torch's spectral norm iterates in every forward.
        for norm in self._norms:
            norm.advance()
        logits: Tensor = self.discriminator(images)
        if self._hinge:
            return -logits.mean() if generating else relu(1 - (2 * target - 1) * logits).mean()
        return binary_cross_entropy(logits.sigmoid(), torch.full_like(logits, target))
