"""Real clips of three kinds, and what makes them ill at several strengths."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from distgan.data.clips.moving import MovingDigits
from distgan.data.clips.panning import PannedImages
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.sources.base import ArraySource

FRAMES, COUNT = 16, 64


def tensor(clips: list[Any]) -> Tensor:
    """Of uint8 (T, h, w, c): float64 (n, T, c, h, w) in [-1, 1]."""
    return torch.from_numpy(np.stack(clips)).double().permute(0, 1, 4, 2, 3) / 127.5 - 1


class OneWay(MovingDigits):
    """Clips that show different digits on the way of clip 5."""

    def positions(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.repeat(super().positions(np.array([5])), len(numbers), 0)


class OneCamera(PannedImages):
    """Clips of different images, over which the window moves as over image 5."""

    def positions(self, number: int, image: tuple[int, ...]) -> NDArray[np.float64]:
        return super().positions(5, image)


@cache
def pictures(count: int, side: int = 36) -> ArraySource:
    """Colour images of blobs of many sizes."""
    draw = np.random.default_rng(0)
    whole: Any = 0.0
    for size in (2, 4, 9, 18):
        noise = torch.from_numpy(draw.normal(size=(count, 3, size, size)))
        whole = whole + interpolate(noise, side, mode="bicubic") / size**0.5
    images = (128 + 60 * whole).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return ArraySource("arrays", images, None, (), [("a.npy", count)])


@cache
def digits() -> tuple[Any, Any]:
    found = read_resident(open_images("mnist"))
    return found.images[..., 0], found.labels


@cache
def clips_of(kind: str) -> tuple[Tensor, Tensor]:
    """Two times 64 real clips, of different numbers."""
    return drawn(kind, range(COUNT)), drawn(kind, range(COUNT, 2 * COUNT))


@cache
def drawn(kind: str, numbers: range, alike: bool = False) -> Tensor:
    if kind == "panning":
        count = 2 * COUNT
        panned = (OneCamera if alike else PannedImages)(pictures(count), FRAMES, (24, 24), count, 0)
        return tensor([np.stack(item.frames) for item in panned.read(np.array(numbers))])  # type: ignore[arg-type]
    name = {"small": "moving-mnist-small", "two digits": "moving-mnist"}[kind]
    moving = (OneWay if alike else MovingDigits)(name, *digits(), 2 * COUNT, 0)
    return tensor([moving.clip(number)[:FRAMES] for number in numbers])


def shuffled(clips: Tensor, share: float) -> Tensor:
    """Clips a share of whose frames change places."""
    draw, found = np.random.default_rng(0), clips.clone()
    for clip, ordered in zip(found, clips, strict=True):
        places = draw.permutation(FRAMES)[: round(share * FRAMES)]
        clip[places] = ordered[draw.permutation(places)]
    return found


def noise(clips: Tensor) -> Tensor:
    return torch.randn(clips.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def time() -> Tensor:
    return torch.linspace(0, 1, FRAMES, dtype=torch.float64).view(1, FRAMES, 1, 1, 1)


def mirrored(clips: Tensor, ways: int) -> Tensor:
    """Clips that move in so many ways: each part is mirrored otherwise."""
    parts = clips.chunk(ways)
    axes: tuple[tuple[int, ...], ...] = ((), (3,), (4,), (3, 4))
    return torch.cat([part.flip(flips) if flips else part for part, flips in zip(parts, axes)])  # noqa: B905


Change = Callable[[Tensor], Tensor]
WELL_MADE: dict[str, Change] = {
    "other numbers": lambda clips: clips,
    "backwards": lambda clips: clips.flip(1),
    "blurred": lambda clips: torch.stack([avg_pool2d(clip, 3, 1, 1) for clip in clips]),
    "fainter": lambda clips: 0.5 * clips - 0.2,
    "half the speed": lambda clips: clips[:, [t // 2 for t in range(FRAMES)]],
    "grain that stays": lambda clips: clips + 0.3 * noise(clips)[:, :1],
    "a little noise": lambda clips: clips + 0.02 * noise(clips),
    "a little lighter": lambda clips: clips + 0.05 * time(),
}
ILL_MADE: dict[str, tuple[str, tuple[float, ...], Callable[[Tensor, float], Tensor]]] = {
    "frozen": ("frozen", (0.0,), lambda clips, _: clips[:, :1].expand_as(clips)),
    "frozen but for noise": (
        "frozen",
        (0.001, 0.005),
        lambda clips, s: clips[:, :1] + s * noise(clips),
    ),
    "shuffled": ("flickering", (0.5, 0.75, 1.0), shuffled),
    "noisy": ("flickering", (0.6, 0.8, 1.2), lambda clips, s: clips + s * noise(clips)),
    "fading": (
        "drift",
        (0.5, 0.7, 0.9),
        lambda clips, s: (clips + 1) * (1 - s * time()) - 1,
    ),
    "brightening": ("drift", (0.25, 0.4, 0.8), lambda clips, s: clips + s * time()),
}
"""By name what is to be said of real clips that are changed so, at several strengths."""
