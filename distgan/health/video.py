"""Signs and rules of the health of models that make clips.

The signs are read at records, of clips of the same numbers each time, beside the same held-out
real clips. Write x_t for frame t of a clip, and r_t for the frame in a few cells: its mean over
channels and over squares of pixels, about 16 each way, in which noise of pixels nearly vanishes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from distgan.health.diagnosis import Rule, Signs, Verdict
from distgan.health.translation import GETTING_BETTER, RECORDS

FROZEN = 0.1
"""Of the data's motion. Clips at half the data's speed have 0.5, and faint ones their share of its
contrast."""
FLICKERING = 3.0
"""Times the data's frame differences. Real clips of other numbers have 0.9 to 1.2 times, shuffled
ones up to 1.8, moving digits with noise of a tenth of the range 3 to 5."""
UNORDERED = 0.6
"""Disorder, 1 where frames come in any order. Real clips have -0.1 to 0.1; clips half of whose
frames are shuffled 0.7."""
ALIKE = 0.5
"""Times the data's variety of motion. Real clips of other numbers have 0.9 to 1.1 times, clips at
half the speed 0.8; clips that share four motions 0.3 to 0.4, a single one 0.2 to 0.3."""
DRIFTED = 0.3
"""Of the data's contrast, beyond what real clips change. Digits that have lost half of their light
at the end of a clip have 0.4."""

_CELLS = 16
"""Each way. Digits of Moving MNIST then move by nine tenths of a cell a frame."""
_STILL = 1e-6
"""Mean difference of frames in [-1, 1], under which data does not move, and is no measure."""
_LEAST_ORDER = 0.1
"""1 - (squared difference of frames over that of frames two apart), under which the data's own
frames follow each other in no order that could be missed."""
_FLAT = 0.02
"""Of the mean squared slope: what is added to that of each frame, so that flat ones do not move."""
_LEAST_SLOPE = 1e-4
"""Of the data's, that made clips are taken to have at least."""
_AT_ONCE = 1 << 22
"""Values of clips that are looked at together, in float64."""


class _Seen(NamedTuple):
    """What is read of each of n clips of T frames, float64."""

    pixels: Tensor
    """Mean |x_{t+1} - x_t|, (n,)."""
    cells: Tensor
    """Mean |r_{t+1} - r_t|, (n,)."""
    steps: Tensor
    """Mean square of r_{t+1} - r_t and of r_{t+2} - r_t, (n, 2); 0 for clips of two frames."""
    slopes: Tensor
    """Sums over cells of what a velocity is solved from, (n, T - 1, 5); see `_velocities`."""
    change: Tensor
    """From the first quarter of the frames to the last one, of the mean and of the standard
    deviation of each channel, (n, 2c)."""


@torch.no_grad()
def image_signs(made: Tensor, reals: Tensor) -> dict[str, Tensor]:
    """The signs that the rules here judge by.

    Args:
        made: clips, float (n, T, c, h, w) in [-1, 1].
        reals: clips of the data, of the same shape; they may come again from the first one.

    Returns:
        scalars, float64: ``motion``, mean |r_{t+1} - r_t| over the data's; ``flicker``, the same
        of x_t, which sees single pixels; ``disorder``, 0 where frames follow each other as the
        data's do and 1 where they could stand in any order; ``motion_variety``, the distance
        between the motions of clips over the data's, see `_apart`; ``drift``, how much more clips
        change from their first to their last frames than the data's do, in standard deviations of
        the data's pixels.
    """
    mine, real = _seen(made), _seen(reals)
    contrast = reals.double().std(correction=0).clamp_min(_STILL)
    return {
        "motion": _ratio(mine.cells, real.cells),
        "flicker": _ratio(mine.pixels, real.pixels),
        "disorder": _disorder(mine.steps, real.steps),
        "motion_variety": _variety(mine.slopes, real.slopes),
        "drift": ((_length(mine.change) - _length(real.change)) / contrast).clamp_min(0.0),
    }


def _seen(clips: Tensor) -> _Seen:
    parts = torch.split(clips, max(1, _AT_ONCE // max(1, clips[0].numel())))
    return _Seen(*(torch.cat(each) for each in zip(*map(_of_some, parts), strict=True)))


def _of_some(clips: Tensor) -> _Seen:
    x = clips.double()
    side = max(1, round(min(x.shape[3:]) / _CELLS))
    r = avg_pool2d(x.mean(2), side)
    step = r.diff(dim=1)
    twice = r[:, 2:] - r[:, :-2]
    squares = [each.square().flatten(1).sum(1) / max(1, each[0].numel()) for each in (step, twice)]
    # A slope of the frame half way, as of the difference: so that motion both ways is the same.
    down, across = torch.gradient((r[:, 1:] + r[:, :-1]) / 2, dim=(2, 3))
    products = (across * across, across * down, down * down, -across * step, -down * step)
    quarter = max(1, x.shape[1] // 4)
    first, last = (
        torch.cat([part.mean((1, 3, 4)), part.std((1, 3, 4), correction=0)], 1)
        for part in (x[:, :quarter], x[:, -quarter:])
    )
    return _Seen(
        x.diff(dim=1).abs().flatten(1).mean(1),
        step.abs().flatten(1).mean(1),
        torch.stack(squares, 1),
        torch.stack([each.sum((2, 3)) for each in products], -1),
        last - first,
    )


def _ratio(mine: Tensor, real: Tensor) -> Tensor:
    # Of data that stands still, nothing can move too much or too little.
    known = real.mean() > _STILL
    return torch.where(known, mine.mean() / real.mean().clamp_min(_STILL), 1.0)


def _length(change: Tensor) -> Tensor:
    """Root of the mean over clips of the squared length."""
    return change.square().sum(1).mean().sqrt()


def _disorder(mine: Tensor, real: Tensor) -> Tensor:
    """How far made frames are from the data's order, which is 0, to none at all, which is 1.

    Of frames in any order neighbours differ as much as others do, of such as follow each other
    less. Frames that turn back and forth have more than 1.
    """
    own, data = _likeness(mine), _likeness(real)
    moves = (mine.sum(0)[0] > _STILL**2) & (real.sum(0) > _STILL**2).all()
    found = (own - data) / (1 - data).clamp_min(_LEAST_ORDER)
    return torch.where(moves & (1 - data > _LEAST_ORDER), found, 0.0)


def _likeness(steps: Tensor) -> Tensor:
    """Squared difference of neighbours over that of frames two apart, at most 10."""
    one, two = steps.sum(0)
    found: Tensor = one / torch.maximum(two, one / 10).clamp_min(_STILL**2)
    return found


def _variety(mine: Tensor, real: Tensor) -> Tensor:
    slope = (real[..., 0] + real[..., 2]).mean() / 2
    data = torch.unique(_velocities(real, torch.zeros_like(slope)).flatten(1), dim=0)
    # The more clips there are, the nearer is the nearest.
    own = _velocities(mine, _LEAST_SLOPE * slope).flatten(1)[: len(data)]
    if len(data) < 2 or not slope > 0:
        return torch.ones_like(slope)
    return _apart(own) / _apart(data).clamp_min(_STILL)


def _velocities(sums: Tensor, least: Tensor) -> Tensor:
    """The motion of each frame as a whole, in cells a frame, across and down: (n, T - 1, 2).

    The velocity by which a frame, moved, is least squares nearest to the next one (Lucas and
    Kanade, "An Iterative Image Registration Technique", 1981).

    Args:
        sums: see `_Seen.slopes`.
        least: mean squared slope that clips are taken to have at least.
    """
    xx, xy, yy, x, y = sums.unbind(-1)
    extra = _FLAT * torch.maximum((xx + yy).mean() / 2, least).clamp_min(1e-12)
    xx, yy = xx + extra, yy + extra
    return torch.stack([yy * x - xy * y, xx * y - xy * x], -1) / (xx * yy - xy * xy).unsqueeze(-1)


def _apart(velocities: Tensor) -> Tensor:
    """How different motions are: the mean distance of a clip's from the nearest other one.

    It is in units of their own size, so that slow clips count as much as fast ones, and small for
    clips that share a motion, or a few.

    Args:
        velocities: of clips, (n, anything), for at least two.
    """
    distances = torch.cdist(velocities, velocities, compute_mode="donot_use_mm_for_euclid_dist")
    distances.fill_diagonal_(torch.inf)
    size = velocities.square().sum(1).mean().sqrt()
    return distances.amin(1).mean() / size.clamp_min(1e-9)


def frozen(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """Clips in which nothing moves."""
    found = now["motion"]
    if len(past) >= RECORDS and found < FROZEN and not _rises("motion", past, now):
        yield Verdict(
            "frozen",
            f"frames differ from the ones before by {found:.2g} of what real frames do",
            "raise the learning rate of the discriminator that sees how frames follow each other, "
            "or --clip.stride, so that frames differ more",
        )


def flickering(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """Clips whose frames do not follow each other."""
    if len(past) < RECORDS:
        return
    remedy = (
        "lower --generator.optimizer.lr, or raise the weight of R1 of the discriminator that sees "
        "how frames follow each other; with --clip.stride 1 frames follow each other most closely"
    )
    if now["disorder"] > UNORDERED and not _falls("disorder", past, now):
        yield Verdict(
            "flickering",
            "frames could stand in any order: on a scale from 0, as the data's follow each other, "
            f"to 1, not at all, they are at {now['disorder']:.2g}",
            remedy,
        )
    if now["flicker"] > FLICKERING and not _falls("flicker", past, now):
        yield Verdict(
            "flickering",
            f"pixels change from frame to frame {now['flicker']:.2g} times as much as in real "
            "clips",
            remedy,
        )


def motion_collapse(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """Clips that all move alike, whatever they show."""
    found = now["motion_variety"]
    if (
        len(past) >= RECORDS
        and found < ALIKE
        and now["motion"] >= FROZEN
        and not _rises("motion_variety", past, now)
    ):
        yield Verdict(
            "motion collapse",
            f"clips move alike: their motions are {found:.2g} times as far apart as real ones",
            "raise the weight of R1 of the discriminator that sees how frames follow each other, "
            "or lower its learning rate",
        )


def drifting(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """Clips that fade, brighten or change their contrast while they last."""
    found = now["drift"]
    if len(past) >= RECORDS and found > DRIFTED and not _falls("drift", past, now):
        yield Verdict(
            "drift",
            f"from their first frames to their last, brightness or contrast of clips change by "
            f"{found:.2g} of the data's contrast more than real clips do",
            "train on longer clips (--clip.frames), so that discriminators see late frames too, or "
            "lower --generator.optimizer.lr",
        )


RULES: tuple[Rule, ...] = (frozen, flickering, motion_collapse, drifting)
"""Every rule of clips, the gravest first. They need the signs of `image_signs`."""


def _rises(name: str, past: Sequence[Signs], now: Signs) -> bool:
    """Whether a network still learns what a sign says, and it is to become larger."""
    return now[name] > (1 + GETTING_BETTER) * past[-RECORDS][name]


def _falls(name: str, past: Sequence[Signs], now: Signs) -> bool:
    return now[name] < (1 - GETTING_BETTER) * past[-RECORDS][name]
