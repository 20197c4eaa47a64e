"""Adversarial losses: pure functions of the discriminator's logits, to be minimised.

Write r and f for the logits of a real and a fake image and D = sigmoid of a logit. Then
-log D(x) = softplus(-r) and -log(1 - D(G(z))) = softplus(f), which neither overflow nor
lose digits where a sigmoid saturates. All arguments are float (n,), all results scalars:
means over the n samples. Pairs are formed by position.

To add one: write its two functions and name them in `LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus


def log_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))]: Goodfellow et al. 2014, equation 1, as D sees it."""
    return softplus(-real).mean() + softplus(fake).mean()


def minimax_generator(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))]: what G minimises in equation 1 of Goodfellow et al. 2014.

    Its gradient is -D(G(z)) per logit, which vanishes where D rejects the sample.
    """
    return -softplus(fake).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    """-E[log D(G(z))]: same fixed point, strong gradient early (Goodfellow et al. 2014, section 3).

    Its gradient is D(G(z)) - 1 per logit, largest where D rejects the sample.
    """
    return softplus(-fake).mean()


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[(r - 1)^2] / 2 + E[f^2] / 2: Mao et al. 2017, equation 9."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def least_squares_generator(fake: Tensor) -> Tensor:
    """E[(f - 1)^2] / 2: Mao et al. 2017, equation 9."""
    return (fake - 1).square().mean() / 2


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - r)] + E[max(0, 1 + f)]: Lim and Ye 2017; Miyato et al. 2018, equation 16."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[f] - E[r]: Arjovsky et al. 2017, equation 2, for a critic that something else keeps
    Lipschitz: the penalty ``wgan_gp``, ``clip``, or spectral normalisation."""
    return fake.mean() - real.mean()


def critic_generator(fake: Tensor) -> Tensor:
    """-E[f]: G's side of the Wasserstein (Arjovsky et al. 2017) and hinge losses."""
    return -fake.mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[softplus(-(r - f))] over pairs: RpGAN, Jolicoeur-Martineau 2018, section 4.1;
    the loss of R3GAN (Huang et al. 2024, equation 1)."""
    return softplus(fake - real).mean()


def relativistic_generator(fake: Tensor, real: Tensor) -> Tensor:
    """E[softplus(-(f - r))] over pairs: RpGAN, as the generator sees it."""
    return softplus(real - fake).mean()


def relativistic_average_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[softplus(-(r - E[f]))] + E[softplus(f - E[r])]: RaGAN, Jolicoeur-Martineau 2018,
    section 4.2. The inner means are over the whole global batch."""
    return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()


def relativistic_average_generator(fake: Tensor, real: Tensor) -> Tensor:
    """E[softplus(-(f - E[r]))] + E[softplus(r - E[f])]: RaGAN, as the generator sees it."""
    return relativistic_average_discriminator(fake, real)


@dataclass(frozen=True)
class Loss:
    """A pair of losses, of the discriminator and of the generator.

    Args:
        discriminator: of (real, fake) logits.
        generator: of the fakes' logits, or of (fake, real) for a ``relative`` loss.
        relative: whether the generator's loss also depends on the reals.
        couples: whether a loss is not a mean over samples (or pairs), so that it needs the logits
            of the whole global batch at once.
        probability: whether the optimal discriminator's sigmoid is the probability of a real.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[..., Tensor]
    relative: bool = False
    couples: bool = False
    probability: bool = False


LOSSES: dict[str, Loss] = {
    "non-saturating": Loss(log_discriminator, non_saturating_generator, probability=True),
    "minimax": Loss(log_discriminator, minimax_generator, probability=True),
    "least-squares": Loss(least_squares_discriminator, least_squares_generator),
    "hinge": Loss(hinge_discriminator, critic_generator),
    "wasserstein": Loss(wasserstein_discriminator, critic_generator),
    "relativistic": Loss(relativistic_discriminator, relativistic_generator, relative=True),
    "relativistic-average": Loss(
        relativistic_average_discriminator,
        relativistic_average_generator,
        relative=True,
        couples=True,
    ),
}
"""Every loss by the name a configuration gives it."""
