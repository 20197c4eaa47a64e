"""Closed walks in the space of latents, along great circles from one seed to the next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from distgan.runs.generator import LoadedGenerator


def great_circle(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Between two points on the great circle through their directions (Shoemake 1985).

    Between points on a sphere all others are on it; normal numbers of many dimensions lie
    near one, which a straight line between them leaves.

    Args:
        start: float (n, size), and ``end`` too; row by row.
        share: of the way, 0 to 1.

    Returns:
        float (n, size); ``start`` and ``end`` themselves for 0 and 1.
    """
    a, b = start.double(), end.double()
    lengths = a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True)
    cosine = (a * b).sum(1, keepdim=True) / lengths.clamp_min(1e-30)
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin()
    # Directions that are the same, or opposite, have no great circle of their own.
    straight = sine < 1e-6
    sine = sine.where(~straight, torch.ones_like(sine))
    first = (((1 - share) * angle).sin() / sine).where(~straight, torch.tensor(1 - share).double())
    second = ((share * angle).sin() / sine).where(~straight, torch.tensor(share).double())
    between: Tensor = (first * a + second * b).to(start.dtype)
    return between


def closed_walk(
    generator: LoadedGenerator, seeds: Sequence[int], num: int, frames: int
) -> Iterator[dict[str, Tensor]]:
    """Latents of ``num`` images for each frame of a film that can be repeated without a seam.

    Image i goes from image i of the first seed to image i of the next one and, from the last,
    back to the first; frame 0 shows the first seed's images, to the bit.

    Args:
        frames: spread evenly over the whole way.

    Yields:
        float32 (num, size) by name.
    """
    corners = [generator.latents(num, seed) for seed in seeds]
    kinds = {name: draw.kind for name, draw in generator.family.inputs().items()}
    for frame in range(frames):
        way = frame * len(corners) / frames
        corner = int(way)
        ends = corners[corner], corners[(corner + 1) % len(corners)]
        yield {name: _between(ends, name, kinds[name], way - corner) for name in kinds}


def _between(
    ends: tuple[Mapping[str, Tensor], Mapping[str, Tensor]], name: str, kind: str, share: float
) -> Tensor:
    start, end = (each[name] for each in ends)
    if math.isclose(share, 0, abs_tol=1e-9):
        return start
    if kind == "normal":
        return great_circle(start, end, share)
    # Uniform numbers, by way of the normal ones of the same ranks, stay uniform.
    first, last = (torch.special.ndtri(each.double().clamp_max(1 - 1e-9)) for each in (start, end))
    uniform: Tensor = torch.special.ndtr(great_circle(first, last, share)).to(start.dtype)
    return uniform
