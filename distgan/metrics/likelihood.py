"""How likely a latent-variable model finds held-out images: bounds in nats, bits per dimension.

Write p(x|z) for a decoder, q(z|x) for an encoder's diagonal Gaussian, p(z) for the standard
normal prior, and w(z) = p(x|z) p(z) / q(z|x) for z drawn from q(z|x). All sums are in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from distgan.metrics.moments import Moments


class LogMeanExp:
    """log((exp a_1 + ... + exp a_K) / K) of numbers that come in parts, without overflow.

    The sum is kept relative to the largest number so far. Any division into parts gives the
    same to rounding.
    """

    def __init__(self) -> None:
        self._largest: Tensor | None = None
        self._sum = torch.zeros(0, dtype=torch.float64)
        self._count = 0

    def add(self, numbers: Tensor) -> None:
        """Count float (n, k) more, k of them for each of the same n."""
        if numbers.shape[1] == 0:
            return
        numbers = numbers.double()
        largest = numbers.amax(1)
        if self._largest is None:
            self._largest, self._sum = largest, torch.zeros_like(largest)
        largest = torch.maximum(self._largest, largest)
        # What is infinite stays so: minus infinity less itself would be no number.
        shift = torch.where(largest.isfinite(), largest, torch.zeros_like(largest))
        self._sum = self._sum * (self._largest - shift).exp() + _total(numbers, shift)
        self._largest = largest
        self._count += numbers.shape[1]

    @property
    def value(self) -> Tensor:
        """float64 (n,).

        Raises:
            RuntimeError: if nothing was added.
        """
        if self._largest is None:
            raise RuntimeError("the mean of no numbers is undefined: add some first")
        finite = torch.where(self._largest.isfinite(), self._largest, 0.0)
        return finite + self._sum.log() - math.log(self._count)


def _total(numbers: Tensor, shift: Tensor) -> Tensor:
    return (numbers - shift[:, None]).exp().sum(1)


def log_weights(
    log_likelihood: Tensor, noise: Tensor, mean: Tensor, log_variance: Tensor
) -> Tensor:
    """log w(z) of z = mean + exp(log_variance / 2) noise.

    log p(z) - log q(z|x) = sum_j (noise_j^2 - z_j^2 + log_variance_j) / 2; what the two
    densities have in common cancels.

    Args:
        log_likelihood: log p(x|z), float (n, k).
        noise: float (n, k, d).
        mean: float (n, d), like ``log_variance``.

    Returns:
        float64 (n, k).
    """
    mean, log_variance, noise = mean.double(), log_variance.double(), noise.double()
    z = mean[:, None] + (log_variance / 2).exp()[:, None] * noise
    ratio = (noise.square() - z.square() + log_variance[:, None]).sum(2) / 2
    return log_likelihood.double() + ratio


def importance_weighted_bound(
    mean: Tensor,
    log_variance: Tensor,
    log_likelihood: Callable[[Tensor], Tensor],
    noise: Callable[[range], Tensor],
    samples: int,
    at_once: int = 100,
) -> Tensor:
    """log((w(z_1) + ... + w(z_K)) / K): Burda, Grosse and Salakhutdinov, "Importance Weighted
    Autoencoders" (ICLR 2016), equation 8.

    Its expectation is at most log p(x), rises with K and reaches log p(x) in the limit; with
    K = 1 it is the ELBO. Each image has a bound of its own: ranks may share the images.

    Args:
        mean: of q(z|x), float (n, d), like ``log_variance``.
        log_likelihood: maps z, (n, k, d) of the type of ``mean``, to log p(x|z), float (n, k).
        noise: maps a range of draws to standard normal numbers, float (n, len, d); draw k of an
            image should be the same whatever else is asked for, see
            `distgan.networks.random.normal_draws`.
        samples: K.
        at_once: draws decoded together; makes no difference to the result but for rounding.

    Returns:
        float64 (n,), in nats.

    Raises:
        ValueError: for less than one sample, in all or at once.
    """
    if samples < 1 or at_once < 1:
        raise ValueError(f"needs at least one sample, in all and at once: {samples}, {at_once}")
    total = LogMeanExp()
    scale = (log_variance / 2).exp()
    for part in _parts(samples, at_once):
        drawn = noise(part).to(mean.dtype)
        found = log_likelihood(mean[:, None] + scale[:, None] * drawn)
        total.add(log_weights(found, drawn, mean, log_variance))
    return total.value


def _parts(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def bits_per_dimension(nats: Tensor, dimensions: int, width: float = 1.0) -> Tensor:
    """-nats / (D ln 2) - log2(width): float (...), the log-likelihoods of images, to bits.

    Args:
        nats: log-likelihoods, or bounds of them.
        dimensions: D, the pixels times the channels.
        width: 1 for probabilities of levels, as of a discretised likelihood. For a density, the
            distance of two levels: 2 / 255 where 256 of them are at level / 127.5 - 1. Then it
            is a bound only of uniformly dequantised images (Theis, van den Oord and Bethge,
            "A note on the evaluation of generative models", ICLR 2016, section 3.1).
    """
    return -nats / (dimensions * math.log(2)) - math.log2(width)


def active_units(means: Moments, least: float = 0.01) -> int:
    """Latent dimensions that say something of x: Cov_x(E_q[z_j]) > 0.01, Burda et al. 2016,
    section 5.2.

    Args:
        means: moments of the encoder's means, (n, d), over the images of all ranks.
        least: the threshold, a variance.
    """
    return int((means.covariance.diagonal() > least).sum().item())
