"""Penalties on the discriminator's gradients, logits and weights, and when they are due.

To add a gradient penalty: write at which images the gradient is taken and the penalty's value,
name both in `GRADIENT_PENALTIES`, and give it a field in `PenaltySettings`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from distgan.config.schedule import Schedule, Strength
from distgan.config.settings import SETTINGS, Count
from distgan.parallel import World

Logits = Callable[[Tensor], Tensor]
"""The discriminator with its labels bound: images (n, c, h, w) -> logits (n,)."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PenaltySettings:
    """Weights of the terms added to the discriminator's loss; 0 leaves one out."""

    r1: Strength = Schedule(0)
    """gamma of R1, gamma/2 E[|grad D(x)|^2] on reals (Mescheder et al. 2018)."""
    r2: Strength = Schedule(0)
    """gamma of R2, the same on fakes (Mescheder et al. 2018)."""
    wgan_gp: Strength = Schedule(0)
    """lambda of WGAN-GP, E[(|grad D| - 1)^2] between reals and fakes (Gulrajani et al. 2017)."""
    dragan: Strength = Schedule(0)
    """lambda of DRAGAN, E[(|grad D| - 1)^2] around reals (Kodali et al. 2017)."""
    at: Literal["augmented", "raw"] = "augmented"
    """Which images R1 and R2 take the gradient with respect to. augmented: the images that D sees;
    raw: those before augmentation, through which the gradient then goes, as in the code of
    StyleGAN2-ADA and R3GAN."""
    every: Count = 0
    """Images between two penalties on gradients, each scaled up to make up for the rest
    (Karras et al. 2020, "lazy regularization"); 0 for every batch."""
    lecam: Strength = Schedule(0)
    """lambda of LeCam, which ties logits to running means of the other side (Tseng et al. 2021). As
    in the paper: the authors' code corrects for the means' start at 0, and takes a relu."""
    lecam_half_life: PositiveInt = 5_000
    """Images after which a logit counts half in LeCam's running means."""
    clip: NonNegativeFloat = 0.0
    """Clamp every weight to [-clip, clip] after each update (WGAN, Arjovsky et al. 2017)."""

    def numbers(self, image: Sequence[int]) -> dict[str, int]:
        """How many uniform numbers an image of a shape consumes, for each active penalty that uses
        any."""
        sizes = {n: p.numbers(image) for n, p in GRADIENT_PENALTIES.items() if self.uses(n)}
        return {name: size for name, size in sizes.items() if size}

    def uses(self, name: str) -> bool:
        """Whether a term has a weight other than 0 at any time of the run."""
        schedule: Schedule = getattr(self, name)
        return not schedule.is_zero


def _half_squared(squares: Tensor) -> Tensor:
    return squares / 2


def _distance_from_one(squares: Tensor) -> Tensor:
    # The derivative of the root is infinite at 0; the bound avoids nan gradients.
    return (squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt() - 1).square()


def between(real: Tensor, fake: Tensor, numbers: Tensor) -> Tensor:
    """A random point on the line from each fake to its real (Gulrajani et al. 2017, algorithm 1).

    Args:
        numbers: float (n, 1), uniform.
    """
    return fake + _for_each(numbers, real) * (real - fake)


def around(real: Tensor, fake: Tensor, numbers: Tensor) -> Tensor:
    """A random point on the line from each real to one with noise, uniform up to half of the
    image's own standard deviation.

    As in the code of Kodali et al.; the paper writes normal noise. Their code takes the standard
    deviation of the batch; that of the image makes the result independent of the other samples.

    Args:
        numbers: float (n, 1 + channels * height * width), uniform; the first says where on the
            line.
    """
    share, noise = _for_each(numbers[:, 0], real), numbers[:, 1:].reshape(real.shape)
    deviation = real.std(tuple(range(1, real.dim())), keepdim=True)
    return real + share * (deviation / 2 * noise)


def _for_each(numbers: Tensor, images: Tensor) -> Tensor:
    """One number for each image or clip, in the shape in which it multiplies these."""
    return numbers.view(-1, *[1] * (images.dim() - 1))


class GradientPenalty(NamedTuple):
    """A penalty on the squared norm of the discriminator's gradient at some images.

    ``at`` is ``"real"`` or ``"fake"`` for the images of the update, or a function of (real, fake,
    numbers) that makes others. ``charge`` maps squared norms to penalties, both float (n,).
    """

    at: Literal["real", "fake"] | Callable[[Tensor, Tensor, Tensor], Tensor]
    charge: Callable[[Tensor], Tensor]
    numbers: Callable[[Sequence[int]], int] = lambda image: 0


GRADIENT_PENALTIES: dict[str, GradientPenalty] = {
    "r1": GradientPenalty("real", _half_squared),
    "r2": GradientPenalty("fake", _half_squared),
    "wgan_gp": GradientPenalty(between, _distance_from_one, lambda image: 1),
    "dragan": GradientPenalty(around, _distance_from_one, lambda image: 1 + math.prod(image)),
}
"""Every penalty on gradients by the name of its field in `PenaltySettings`."""


def squared_gradient_norms(logits: Tensor, images: Sequence[Tensor]) -> list[Tensor]:
    """|grad D|^2 of each image, differentiable: float (n,) for each of ``images``.

    At least float32, whatever the discriminator's precision.

    Args:
        logits: computed from ``images``.
        images: float (n, c, h, w), which require gradients.
    """
    gradients = torch.autograd.grad(logits.sum(), list(images), create_graph=True)
    wide = [g.float() if g.dtype == torch.bfloat16 else g for g in gradients]
    return [gradient.square().flatten(1).sum(1) for gradient in wide]


class Penalty:
    """The penalties of a run: which are due at a batch, and LeCam's running means.

    The means of the logits of reals and of fakes, float64 (2,), are averaged over ranks after
    each update and used in the next.

    Args:
        batch: images of a global batch.
    """

    def __init__(self, settings: PenaltySettings, batch: int, device: torch.device) -> None:
        self.settings, self._batch = settings, batch
        self._gradients = [name for name in GRADIENT_PENALTIES if settings.uses(name)]
        self._lecam = settings.uses("lecam")
        self._means = torch.zeros(2, dtype=torch.float64, device=device)
        self._seen = torch.zeros_like(self._means)

    def due(self, images_seen: int) -> tuple[str, ...]:
        """The gradient penalties that apply to the batch after so many images.

        With ``every``, a batch in which a multiple of that many images begins: where batches do not
        divide it, the intervals differ by one batch and are right on average.
        """
        every = self.settings.every
        if not self._gradients or (every and -images_seen % every >= self._batch):
            return ()
        return tuple(
            name for name in self._gradients if getattr(self.settings, name).at(images_seen) > 0
        )

    def weight(self, name: str, images_seen: int) -> float:
        """The weight of a due penalty, multiplied by the number of batches it stands for."""
        weight: float = getattr(self.settings, name).at(images_seen)
        return weight * max(1.0, self.settings.every / self._batch)

    def on_logits(self, real: Tensor, fake: Tensor, images_seen: int) -> Tensor | None:
        """LeCam: lambda (E[(r - mean fake)^2] + E[(f - mean real)^2]), Tseng et al. eq. 4.

        As the paper has it. The authors' code differs in two ways: a difference counts only where
        the logit lies beyond the other side's mean (a relu), so that it is 0 for a discriminator
        that is fooled; and it corrects its means for having started at 0. Here they start at 0, to
        which logits are drawn until some half-lives of images have been seen.
        """
        if not self._lecam:
            return None
        mean_real, mean_fake = self._means.to(real.dtype)
        distance = (real - mean_fake).square().mean() + (fake - mean_real).square().mean()
        term: Tensor = self.settings.lecam.at(images_seen) * distance
        return term

    @torch.no_grad()
    def observe(self, real: Tensor, fake: Tensor, weight: float) -> None:
        """Add an update's logits to the means; ``weight`` is `World.weight` of the batch, with
        which the average over ranks is the mean over the global batch."""
        if self._lecam:
            self._seen += torch.stack([real.mean(), fake.mean()]).double() * weight

    @torch.no_grad()
    def after_update(self, network: torch.nn.Module, world: World) -> None:
        """Update the running means and clamp the weights; all ranks must call it."""
        if self._lecam:
            keep = 0.5 ** (self._batch / self.settings.lecam_half_life)
            self._means.lerp_(world.mean(self._seen), 1 - keep)
            self._seen.zero_()
        if self.settings.clip > 0:
            limit = self.settings.clip
            parameters: list[Tensor] = list(network.parameters())
            torch._foreach_clamp_min_(parameters, -limit)
            torch._foreach_clamp_max_(parameters, limit)

    def state_dict(self, world: World) -> dict[str, Any]:
        """For a checkpoint, the same on all ranks."""
        return {"means": self._means.cpu()}

    def load_state_dict(self, state: dict[str, Any], world: World) -> None:
        """Restore the result of `state_dict`."""
        self._means.copy_(state["means"])
