"""Signs and rules of the health of models that make images of images.

The signs are read at records, of the same held-out images each time. Write x for an input in the
shape of outputs, G(x) for the output, and y for the images of the side that outputs belong to:
the targets where they are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from distgan import draws
from distgan.health.diagnosis import Rule, Signs, Verdict, advising

RECORDS = 5
"""Records that have to be there before anything is said: networks start with all of these ills, and
outputs that are alike and full of patterns."""
GETTING_BETTER = 0.2
"""Share by which a sign is better than so many records ago while a network still learns."""
LEAST_CHANGE = 0.03
"""Mean |G(x) - x| over mean |y - x|. Runs that learn change their inputs by a tenth and more."""
INVERTED = -0.5
"""Correlation of pixels."""
BRIGHTER = 0.4
"""Of pixels in [-1, 1], the difference of means by which one side is the other one inverted."""
MOST_CHECKERED = 10.0
"""Times the share of real images."""
NOISE = 2 / 127.5
"""Standard deviation of what is added to outputs, in [-1, 1]: two of 255 levels."""
HIDDEN, LEAST_DAMAGE = 3.0, 0.1
"""Times the cycle error, and mean difference of pixels in [-1, 1], that noise makes of it."""
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
        *(_once_begun(advising(rule, _REMEDIES)) for rule in usual),
        does_nothing,
        colours_inverted,
        checkerboard,
    )


def _once_begun(rule: Rule) -> Rule:
    """A rule that does not call the outputs of a start collapsed, which are gray and alike."""

    def judged(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
        for verdict in rule(past, now):
            if verdict.state == "collapsed":
                if len(past) < RECORDS:
                    continue
                if now["diversity"] > (1 + GETTING_BETTER) * past[-RECORDS]["diversity"]:
                    continue
            yield verdict

    return judged


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


@torch.no_grad()
def cycle_signs(
    made: Tensor, inputs: Tensor, back: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """The mean of |F(G(x)) - x|, ``cycle_error``, and that of |F(G(x) + e) - x|, ``noisy_cycle``.

    e is normal noise that nobody would see, the same for all images and at every record. A way back
    that reads the input from a pattern of such a size in the output, as Chu et al. found,
    "CycleGAN, a Master of Steganography" (2017), goes astray by it.

    Args:
        made: outputs G(x), float (n, c, h, w) in [-1, 1].
        inputs: x, float (n, c', h', w').
        back: F.

    Returns:
        scalars, float64.
    """
    drawn = draws.normals(0, "noise of cycles", [range(1)], made[0].numel())
    noise = NOISE * torch.from_numpy(drawn).to(made).view_as(made[:1])
    given = {"cycle_error": made, "noisy_cycle": made + noise}
    return {name: (back(each) - inputs).double().abs().mean() for name, each in given.items()}


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


def hides_input(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """A cycle that closes by what is hidden in the outputs."""
    error, noisy = now["cycle_error"], now["noisy_cycle"]
    if len(past) >= RECORDS and noisy > HIDDEN * error and noisy - error > LEAST_DAMAGE:
        yield Verdict(
            "input hidden",
            f"the way back is off by {error:.2g}, and by {noisy:.2g} where noise of "
            f"{NOISE:.2g} is added to outputs: these hide the input",
            "lower --cycle, or augment what the discriminators see by "
            "--discriminator.augment.name diffaugment",
        )


def checkerboard(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """Outputs with a pattern of the size of pixels."""
    found = now["checkerboard"]
    if len(past) < RECORDS or found < (1 - GETTING_BETTER) * past[-RECORDS]["checkerboard"]:
        return
    if found > MOST_CHECKERED:
        yield Verdict(
            "checkerboard",
            f"a pattern of alternating pixels is {found:.3g} times as strong as in real images",
            "start anew with --generator.network.name resnet --generator.network.antialias true",
        )
