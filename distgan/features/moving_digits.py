"""Which digits a classifier reads in the frames of clips, and whether they stay the same."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from distgan.data.clips.moving import MOVING
from distgan.data.images import ImageSet
from distgan.features.base import Extractor
from distgan.metrics.motion import DARK

SURE = 0.8
"""The least probability of a digit that counts as read."""
SAME = 0.9
"""Share of the frames with read digits that have to agree, of a clip that keeps its digits."""
READ = {1: 0.5, 2: 0.25}
"""Share of all frames in which they have to be read, by how many there are: two often overlap."""
_APART = 0.65
"""How far apart two digits have to be for either to be read, in sides of a digit: what is between
their middles is cut, which leaves most digits whole."""
_ROUNDS = 8
_SIDE = 28
"""Of what the classifier takes."""
_DIM, _BRIGHT = 32, 202
"""What becomes dark and full light in an enlarged digit. With it the packaged classifier is sure of
97% of the digits of 14x14 pixels, and right in 99.8% of these; without, of 67%, and in 94%."""


def digits_of(images: ImageSet) -> int:
    """How many digits the clips of a set show, by its classes; 0 where they are no digits."""
    known = {rule.classes: rule.digits for rule in MOVING.values()}
    return known.get(images.classes, 0)


def keep(clips: Tensor, digits: int, classifier: Extractor) -> Tensor:
    """Which clips keep their digits: `SAME` of the frames in which they are read agree.

    One digit is looked for around the centre of mass, in a square of Moving MNIST's share of the
    frame, 28 pixels of 64. Of two the pixels are shared out by the nearer of two middles, and
    frames count in which these are well apart; which of them is which does not matter.

    Args:
        clips: uint8 (n, frames, c, h, w), digits bright before a dark ground.
        digits: 1 or 2.
        classifier: of the ten digits.

    Returns:
        float64 (n,): 1 or 0. Also 0 where digits are read in less than `READ` of the frames.
    """
    return kept(read(clips, digits, classifier), READ[digits]).double()


def kept(digits: Tensor, least: float) -> Tensor:
    """The rule of `keep` of what was read: int64 (n, frames), -1 for nothing -> bool (n,).

    Args:
        least: share of all frames in which something has to be read.
    """
    codes = torch.arange(100, device=digits.device)
    most = (digits[:, :, None] == codes).sum(1).amax(1)
    known = (digits >= 0).sum(1)
    enough = known >= max(2.0, least * digits.shape[1])
    found: Tensor = enough & (most >= SAME * known)
    return found


def read(clips: Tensor, digits: int, classifier: Extractor) -> Tensor:
    """What is read in every frame, int64 (n, frames): a digit, or of two the smaller one times ten
    and the larger; -1 where not all of them are read."""
    frames = clips.flatten(0, 1).float().mean(1)
    side = round(frames.shape[1] * _SIDE / 64)
    light = (frames - DARK).clamp_min(0)
    seen = light.sum((1, 2)) > 0
    if digits == 1:
        patches = _cut(frames, _middle(light), side)[:, None]
    else:
        middles, nearer = _two(light)
        seen &= (middles[:, 0] - middles[:, 1]).abs().amax(-1) >= _APART * side
        parts = [
            _cut(frames * nearer.eq(which), middles[:, which], side) for which in range(digits)
        ]
        patches = torch.stack(parts, 1)
    believed = classifier(patches.flatten(0, 1).unsqueeze(1)).probabilities
    assert believed is not None, "a classifier"
    sure, digit = believed.view(-1, digits, believed.shape[1]).max(2)
    code = digit.sort(1).values @ torch.tensor([10, 1][-digits:], device=digit.device)
    seen &= (sure >= SURE).all(1)
    return torch.where(seen, code, -1).view(clips.shape[:2])


def _middle(light: Tensor) -> Tensor:
    """Centre of mass of float (m, h, w): across and down, (m, 2); 0 without any."""
    axes = [torch.arange(n, device=light.device, dtype=light.dtype) for n in light.shape[1:]]
    sums = torch.stack([light.sum(1) @ axes[1], light.sum(2) @ axes[0]], 1)
    return sums / light.sum((1, 2)).clamp_min(1e-6)[:, None]


def _two(light: Tensor) -> tuple[Tensor, Tensor]:
    """Two middles of float (m, h, w), (m, 2, 2), and which of them is the nearer, (m, h, w).

    Lloyd's rounds from both ends of the longest axis of the light.
    """
    down, across = (
        torch.arange(n, device=light.device, dtype=light.dtype) for n in light.shape[1:]
    )
    places = torch.stack(torch.meshgrid(across, down, indexing="xy"), -1).flatten(0, 1)
    weights = light.flatten(1) / light.sum((1, 2)).clamp_min(1e-6)[:, None]
    middle = weights @ places
    squares = torch.stack([places[:, i] * places[:, j] for i in (0, 1) for j in (0, 1)], 1)
    spread = (weights @ squares).view(-1, 2, 2) - middle[:, :, None] * middle[:, None]
    values, axes = torch.linalg.eigh(spread)
    off = axes[:, :, 1] * values[:, 1:].clamp_min(0).sqrt()
    middles = torch.stack([middle - off, middle + off], 1)
    for _ in range(_ROUNDS):
        nearer = _nearer(middles, places)
        for which in (0, 1):
            own = weights * nearer.eq(which)
            mass = own.sum(1, keepdim=True)
            moved = own @ places / mass.clamp_min(1e-6)
            middles[:, which] = torch.where(mass > 0, moved, middles[:, which])
    return middles, _nearer(middles, places).view(light.shape)


def _nearer(middles: Tensor, places: Tensor) -> Tensor:
    # |p - a|^2 > |p - b|^2, without what both have: 0 for the first and 1 for the second.
    apart = middles[:, 1] - middles[:, 0]
    half = (middles.square().sum(2) @ middles.new_tensor([-1.0, 1.0])) / 2
    return (apart @ places.T > half[:, None]).long()


def _cut(frames: Tensor, middles: Tensor, side: int) -> Tensor:
    """Squares around middles, at whole pixels: float (m, h, w) -> uint8 (m, 28, 28)."""
    padded = pad(frames, (side,) * 4)
    corner = (middles - (side - 1) / 2).round().long() + side
    steps = torch.arange(side, device=frames.device)
    across, down = (corner[:, axis, None] + steps for axis in (0, 1))
    rows = torch.arange(len(frames), device=frames.device)[:, None, None]
    found = padded[rows, down[:, :, None], across[:, None]]
    if side != _SIDE:
        # Small strokes are as broad and dim as no digit that the classifier learned from.
        size = (_SIDE, _SIDE)
        found = interpolate(found[:, None], size, mode="bicubic", antialias=True)[:, 0]
        found = (found - _DIM) * (255 / (_BRIGHT - _DIM))
    return found.clamp(0, 255).round().byte()
