"""Signs and rules of the health of models that make images of images.

The signs are read at records, of the same held-out images each time. Write x for an input in the
shape of outputs, G(x) for the output, and y for the images of the side that outputs belong to:
the targets where they are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from distgan.health.diagnosis import Rule, Signs, Verdict, advising

RECORDS = 5
"""Records that have to be there before anything is said: networks start with all of these ills."""
LEAST_CHANGE = 0.03
"""Mean |G(x) - x| over mean |y - x|. Runs that learn change their inputs by a tenth and more."""
INVERTED = -0.5
"""Correlation of pixels."""
BRIGHTER = 0.4
"""Of pixels in [-1, 1], the difference of means by which one side is the other one inverted."""
MOST_CHECKERED = 10.0
"""Times the share of real images."""
LEAST_SHARE = 1e-3
"""Of the energy, which checkerboards are compared with where real images have less."""

_REMEDIES = {
    "collapsed": "go back to an earlier checkpoint with a lower --generator.optimizer.lr; check "
    "that the inputs differ",
    "collapsing": "lower --generator.optimizer.lr or --discriminator.optimizer.lr, or raise "
    "--discriminator.penalty.r1",
}


def rules(usual: Sequence[Rule]) -> tuple[Rule, ...]:
    """Every rule of a translation, the gravest first; ``usual`` are those of every family."""
    return (
        *(advising(rule, _REMEDIES) for rule in usual),
        does_nothing,
        colours_inverted,
        checkerboard,
    )


@torch.no_grad()
def image_signs(made: Tensor, inputs: Tensor, reals: Tensor, known: bool) -> dict[str, Tensor]:
    """The signs that the rules here judge by.

    Args:
        made: outputs, float (n, c, h, w) in [-1, 1]; like ``inputs``, in the shape of outputs.
        reals: of the side of the outputs; with ``known`` the target of each input.

    Returns:
        scalars, float64: ``input_change``, mean |G(x) - x| over mean |y - x|; ``correlation`` of
        G(x) with the targets, or where these are not known with the inputs, inverted where one
        side is the other one inverted; ``checkerboard``, see `alternating_share`, over that of y.
    """
    made, inputs, reals = (images.double() for images in (made, inputs, reals))
    count = min(len(inputs), len(reals))
    apart = (reals[:count] - inputs[:count]).abs().mean()
    change = (made - inputs).abs().mean()
    real_share = alternating_share(reals).clamp_min(LEAST_SHARE)
    return {
        # Where both sides are the same, to do nothing is right.
        "input_change": torch.where(apart > 1e-6, change / apart.clamp_min(1e-6), 1.0),
        "correlation": correlation(made, reals if known else _expected(inputs, reals)),
        "checkerboard": alternating_share(made) / real_share,
    }


def _expected(inputs: Tensor, reals: Tensor) -> Tensor:
    """Inputs, or their inverse where the other side is that: by means of brightness."""
    one, other = inputs.mean(), reals.mean()
    inverse = (one - other).abs() - (one + other).abs() > BRIGHTER
    return torch.where(inverse, -inputs, inputs)


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """The correlation of values within an image, its mean over images: (n, c, h, w) -> scalar.

    It is 0 where one of two images is constant.
    """
    x, y = (images.flatten(1) - images.flatten(1).mean(1, keepdim=True) for images in (one, other))
    lengths = x.norm(dim=1) * y.norm(dim=1)
    found: Tensor = ((x * y).sum(1) / lengths.clamp_min(1e-12)).mean()
    return found


def alternating_share(images: Tensor) -> Tensor:
    """The share of energy that alternates from pixel to pixel over the whole image.

    Images are doubled in size by layers of stride 2, which leave a pattern where their windows
    overlap unevenly (Odena et al., "Deconvolution and Checkerboard Artifacts", 2016). Its frequency
    is 1/2 a pixel: |F(1/2, 0)|^2 + |F(0, 1/2)|^2 + |F(1/2, 1/2)|^2, F being Fourier's transform of
    a channel, over the sum of |F|^2 at all frequencies but 0. White noise of N pixels has about
    3 / N.

    Args:
        images: float (n, c, h, w); of an odd side the last row or column is left out.

    Returns:
        of all channels and images together, a scalar; 0 for constant ones.
    """
    height, width = (side // 2 * 2 for side in images.shape[2:])
    images = images[:, :, :height, :width]
    energy = torch.fft.fft2(images).abs().square().sum((0, 1))
    pattern = energy[height // 2, 0] + energy[0, width // 2] + energy[height // 2, width // 2]
    found: Tensor = pattern / (energy.sum() - energy[0, 0]).clamp_min(1e-12)
    return found


def does_nothing(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """Outputs that are the inputs."""
    change = now["input_change"]
    if len(past) >= RECORDS and change < LEAST_CHANGE:
        yield Verdict(
            "does nothing",
            f"outputs differ from inputs by {change:.2g} of what real images do",
            "lower what holds on to the input, as --identity does in a cyclegan and --nce in cut, "
            "or raise --discriminator.optimizer.lr",
        )


def colours_inverted(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """Outputs that are light where they should be dark."""
    found = now["correlation"]
    if len(past) >= RECORDS and found < INVERTED:
        yield Verdict(
            "colours inverted",
            f"outputs are light where they should be dark: their correlation is {found:.2g}",
            "start anew with another --seed, or raise a cyclegan's --identity, which keeps colours",
        )


def checkerboard(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """Outputs with a pattern of the size of pixels."""
    found = now["checkerboard"]
    if len(past) >= RECORDS and found > MOST_CHECKERED:
        yield Verdict(
            "checkerboard",
            f"a pattern of alternating pixels is {found:.3g} times as strong as in real images",
            "start anew with --generator.network.name resnet --generator.network.antialias true",
        )
