"""Terms of a variational autoencoder: pure functions, in nats, one number a sample.

Write x for an image of D numbers, z for its latent vector of d numbers, p(x|z) for the decoder
and q(z|x) for the encoder's diagonal Gaussian. Kingma and Welling, "Auto-Encoding Variational
Bayes" (ICLR 2014), equation 3, bound log p(x) from below by

    ELBO = E_q[log p(x|z)] - KL(q(z|x) || N(0, I)).

Log-likelihoods are summed over pixels and channels, divergences over latent dimensions; means
are taken over samples alone, so that the weight of the one against the other does not depend
on the size of the images. Everything is computed in at least float32, also under bfloat16.

The functions that need the whole global batch at once say so; all others give float (n,).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

LEAST_LOG_SCALE = -6.0
"""Below this log sigma a Gaussian's density explodes on pixels that are always the same."""

_BIN = 1 / 255
"""Half the distance of two of 256 levels in [-1, 1]."""


def _precise(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def bernoulli(images: Tensor, logits: Tensor) -> Tensor:
    """sum_j x_j l_j - log(1 + exp l_j): Kingma and Welling 2014, appendix C.1.

    A likelihood only of binary pixels: over grey ones it does not integrate to one (Loaiza-Ganem
    and Cunningham, "The continuous Bernoulli", 2019).

    Args:
        images: float (n, ...) in [0, 1], not [-1, 1].
        logits: of the same shape; the sigmoid of one is the probability of 1.

    Returns:
        float (n,), at most 0.
    """
    logits = _precise(logits)
    return (images * logits - softplus(logits)).flatten(1).sum(1)


def squared_error(images: Tensor, means: Tensor) -> Tensor:
    """sum_j (x_j - m_j)^2: float (n, ...) twice -> (n,)."""
    return (_precise(images) - _precise(means)).square().flatten(1).sum(1)


def gaussian(images: Tensor, means: Tensor, log_scale: Tensor | float = 0.0) -> Tensor:
    """-sum_j ((x_j - m_j) / sigma)^2 / 2 + log sigma + log(2 pi) / 2: Kingma and Welling 2014,
    appendix C.2, with a variance that is fixed or learned.

    Args:
        images: float (n, ...).
        means: of the same shape.
        log_scale: log sigma. A number is fixed, a tensor that broadcasts to the images learned:
            a scalar for all pixels, or (channels, 1, 1); see `floored`.

    Returns:
        float (n,), of a density: it may be above 0.
    """
    images, means = _precise(images), _precise(means)
    log_scale = _precise(torch.as_tensor(log_scale, dtype=images.dtype, device=images.device))
    z = (images - means) * (-log_scale).exp()
    return -(z.square() / 2 + log_scale + math.log(2 * math.pi) / 2).flatten(1).sum(1)


def optimal_gaussian(squared_errors: Tensor, dimensions: int) -> Tensor:
    """`gaussian` with the one sigma for all that makes the batch most likely: sigma^2 is the mean
    of the squared errors over samples and pixels (Rybkin, Daniilidis and Levine, "Simple and
    Effective VAE Training with Calibrated Decoders", ICML 2021, equation 5).

    It couples samples: the errors must be those of the whole global batch. The mean of the result
    is -D/2 (log(2 pi sigma^2) + 1).

    Args:
        squared_errors: of `squared_error`, float (n,).
        dimensions: D.

    Returns:
        float (n,). sigma^2 is at least exp(2 `LEAST_LOG_SCALE`).
    """
    errors = _precise(squared_errors)
    variance = (errors.mean() / dimensions).clamp(min=math.exp(2 * LEAST_LOG_SCALE))
    return -errors / (2 * variance) - dimensions / 2 * (2 * math.pi * variance).log()


def floored(log_scale: Tensor, least: float = LEAST_LOG_SCALE) -> Tensor:
    """least + softplus(log_scale - least): above ``least``, and unchanged far above it, with a
    gradient everywhere (Rybkin et al. 2021, section 4)."""
    return least + softplus(_precise(log_scale) - least)


def discretised_logistic(images: Tensor, means: Tensor, log_scale: Tensor) -> Tensor:
    """The probability of 256 levels: that of a logistic distribution between x - 1/255 and
    x + 1/255, the first and last bin open to their side.

    Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow" (2016),
    appendix; Salimans et al., "PixelCNN++" (ICLR 2017), equation 2, with one component. With
    a and b the ends of a bin in units of the scale, S the sigmoid:

        log(S(a) - S(b)) = log S(a) + log S(-b) + log(1 - exp(b - a)),

    which has no difference of numbers near each other, however far the mean is from x.

    Args:
        images: float (n, channels, h, w), levels 0 to 255 at level / 127.5 - 1.
        means: of the same shape.
        log_scale: of the logistic distribution, broadcasts to the images; see `floored`, with -7.

    Returns:
        float (n,), at most 0.
    """
    images, means, log_scale = _precise(images), _precise(means), _precise(log_scale)
    inverse = (-log_scale).exp()
    above = logsigmoid((images - means + _BIN) * inverse)
    below = logsigmoid((means - images + _BIN) * inverse)
    width = (-torch.expm1(-2 * _BIN * inverse)).log()
    inner = above + below + width
    # Half a bin from the ends is enough to tell the outermost levels from others.
    levels = torch.where(images < _BIN - 1, above, torch.where(images > 1 - _BIN, below, inner))
    return levels.flatten(1).sum(1)


def divergence_by_dimension(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) = (mu^2 + sigma^2 - 1 - log sigma^2) / 2 of each dimension:
    Kingma and Welling 2014, appendix B. float (n, d) twice -> (n, d), at least 0."""
    mean, log_variance = _precise(mean), _precise(log_variance)
    # expm1 keeps the digits where sigma is near 1 and the divergence near 0.
    return (mean.square() + (torch.expm1(log_variance) - log_variance)) / 2


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """`divergence_by_dimension` summed over dimensions: float (n, d) twice -> (n,)."""
    return divergence_by_dimension(mean, log_variance).sum(1)


def free_bits(divergences: Tensor, least: float) -> Tensor:
    """sum_j max(least, KL_j) of each sample: below ``least`` nats a dimension costs nothing more.

    The variant of Kingma et al. 2016, equation 15, whose maximum is taken a sample and which
    therefore does not couple samples; it is at least `free_bits_of_batch`.

    Args:
        divergences: of `divergence_by_dimension`, float (n, d).
        least: lambda, in nats, at least 0.

    Returns:
        float (n,).
    """
    return divergences.clamp(min=least).sum(1)


def free_bits_of_batch(divergences: Tensor, least: float) -> Tensor:
    """sum_j max(least, E[KL_j]): Kingma et al. 2016, equation 15, with the mean over the batch.

    It couples samples: the divergences must be those of the whole global batch.

    Args:
        divergences: of `divergence_by_dimension`, float (n, d).
        least: lambda, in nats, at least 0.

    Returns:
        A scalar.
    """
    return divergences.mean(0).clamp(min=least).sum()


def importance_weighted(log_weights: Tensor) -> Tensor:
    """log((w_1 + ... + w_K) / K), to be maximised: Burda, Grosse and Salakhutdinov, "Importance
    Weighted Autoencoders" (ICLR 2016), equation 8. With K = 1 it is one draw of the ELBO.

    Args:
        log_weights: of `distgan.metrics.likelihood.log_weights`, float (n, K).

    Returns:
        float (n,).
    """
    return log_weights.logsumexp(1) - math.log(log_weights.shape[1])


def negative_elbo(log_likelihood: Tensor, divergence: Tensor, beta: float = 1.0) -> Tensor:
    """-log p(x|z) + beta KL, to be minimised: float (n,) twice -> (n,).

    ``beta`` other than 1 is no bound of log p(x): Higgins et al., "beta-VAE" (ICLR 2017), equation
    4. A warm-up from 0 (Bowman et al. 2016; Sonderby et al. 2016) is a schedule in images seen,
    `Schedule.parse("0:1:500k:linear").at(images_seen)`.
    """
    return beta * divergence - log_likelihood
