"""Clips of moving things, and what is known of their motion: what `MotionNetwork` learns from.

Things and backgrounds are of every look, so that the look says nothing; what is asked for is how
fast and where things move in each half of the clip, how often they turn, and in which way and how
strongly the motion was spoiled.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from distgan.features.motion import FRAMES, SIDE

KINDS = ("plain", "shuffled", "frozen", "noise", "flicker", "jitter", "turning", "changing")
"""What is done to a motion: nothing; frames change places; frames repeat the one before; each frame
has noise of its own; its brightness; things jump about their path; they change direction; they
become other things."""
TOLD = (
    *("speed", "turns", "acceleration"),
    *("across at first", "down at first", "across at last", "down at last"),
    *KINDS[1:],
)
"""What is told: pixels a frame of 32x32, changes of direction in the clip, pixels a frame a frame,
mean velocities of both halves, and how strong each way of spoiling is, 0 to 1."""
_SCALE = torch.tensor([1.8, 6.0, 3.5, 0.8, 0.8, 0.8, 0.8, *[0.2] * (len(KINDS) - 1)])
_THINGS, _SOURCE = 2, 28


class MotionClips(NamedTuple):
    """Some clips and what is to be told of them."""

    clips: Tensor
    """float (n, 16, 32, 32) in [-1, 1]."""
    told: Tensor
    """float (n, len(TOLD)), each divided so that its deviation is near one."""
    kinds: Tensor
    """int64 (n,), of `KINDS`."""


def moving_clips(digits: Tensor, count: int, draw: torch.Generator) -> MotionClips:
    """Draw some clips.

    Args:
        digits: uint8 (m, 28, 28), the things that move, besides blobs.
    """
    kinds = torch.randint(len(KINDS), (count,), generator=draw)
    strength = torch.rand(count, generator=draw) * 0.95 + 0.05
    strengths = strength[:, None] * torch.nn.functional.one_hot(kinds, len(KINDS))
    spoiled = dict(zip(KINDS, strengths.T, strict=True))

    side = _between(8, 18, (count, 1, _THINGS, 1), draw)
    path = _paths(spoiled, SIDE - side, draw)
    seen = _order(spoiled["shuffled"], spoiled["frozen"], draw)
    path = path.gather(1, seen[:, :, None, None].expand_as(path))
    two = torch.rand(count, 1, _THINGS, generator=draw) < 0.5
    two[:, :, 0] = True
    # Moving MNIST's digits are seen at whole pixels.
    whole = torch.rand(count, 1, 1, 1, generator=draw) < 0.5
    shown = torch.where(whole, path.floor(), path)
    frames = _drawn(_looks(digits, spoiled["changing"], draw), shown, side, two)
    frames = _lit(frames, spoiled, draw)
    told = torch.cat([_told(path, two), strengths[:, 1:]], 1) / _SCALE
    return MotionClips(frames.clamp(0, 1) * 2 - 1, told, kinds)


def _between(low: float, high: float, size: tuple[int, ...], draw: torch.Generator) -> Tensor:
    return torch.rand(size, generator=draw) * (high - low) + low


def _paths(spoiled: dict[str, Tensor], room: Tensor, draw: torch.Generator) -> Tensor:
    """Upper left corners in pixels, (n, 16, things, 2): straight, and reflected at the walls."""
    size = len(room), FRAMES, _THINGS
    speed = _between(0, 4.5, (size[0], 1, _THINGS), draw)
    still = torch.rand(speed.shape, generator=draw) < 0.05
    angle = _between(0, 2 * math.pi, (size[0], 1, _THINGS), draw)
    turning = torch.rand(size, generator=draw) < spoiled["turning"][:, None, None]
    angle = angle + (turning * _between(0, 2 * math.pi, size, draw)).cumsum(1)
    speed = speed.masked_fill(still, 0).unsqueeze(-1)
    steps = speed * torch.stack([angle.cos(), angle.sin()], -1) / room
    place = torch.rand(size[0], 1, _THINGS, 2, generator=draw) + steps.cumsum(1)
    path = (1 - (1 - place % 2).abs()) * room
    off = torch.randn(path.shape, generator=draw) * 3 * spoiled["jitter"][:, None, None, None]
    return path + off


def _order(shuffled: Tensor, frozen: Tensor, draw: torch.Generator) -> Tensor:
    """Which frame is seen when: int64 (n, 16)."""
    count = len(shuffled)
    time = torch.arange(FRAMES).expand(count, -1)
    # As many of the frames as the strength says take each other's places, at random.
    ranks = torch.rand(count, FRAMES, generator=draw).argsort(1).argsort(1)
    stays = ranks >= (shuffled * FRAMES).round().clamp_min(2)[:, None]
    stays |= shuffled[:, None] == 0
    behind = torch.where(stays, FRAMES + time, 0)
    keys = torch.rand(count, FRAMES, generator=draw)
    places = torch.where(stays, behind, time).argsort(1)
    frames = torch.where(stays, behind, keys).argsort(1)
    found = torch.empty(count, FRAMES, dtype=torch.int64).scatter_(1, places, frames)
    # Frames repeat here and there, or from some time on.
    here = torch.rand(count, FRAMES, generator=draw) < frozen[:, None]
    late = (time >= FRAMES * (1 - frozen[:, None])) & (frozen[:, None] > 0)
    held = torch.where(torch.rand(count, 1, generator=draw) < 0.5, here, late)
    held[:, 0] = False
    kept = torch.where(held, 0, time).cummax(1).values
    return found.gather(1, kept)


def _looks(digits: Tensor, changing: Tensor, draw: torch.Generator) -> Tensor:
    """What things look like in each frame: float (n, 16, things, 28, 28) in [0, 1]."""
    count = len(changing)
    blobs = torch.randn(200, 1, 5, 5, generator=draw)
    blobs = interpolate(blobs, (_SOURCE, _SOURCE), mode="bicubic").mul_(4).sigmoid_()
    axis = torch.linspace(-1, 1, _SOURCE)
    blobs *= ((axis[:, None] ** 2 + axis**2) < 1).float()
    change = torch.rand(count, FRAMES, _THINGS, generator=draw) < changing[:, None, None]
    change[:, 0] = True
    size = count, FRAMES, _THINGS
    number = torch.randint(len(digits), size, generator=draw)
    blob = torch.randint(len(blobs), size, generator=draw)
    last = torch.where(change, torch.arange(FRAMES)[:, None], 0).cummax(1).values
    found = digits[number.gather(1, last)].float() / 255
    which = torch.rand(count, 1, _THINGS, 1, 1, generator=draw) < 0.3
    found = torch.where(which, blobs[blob.gather(1, last), 0], found)
    bright: Tensor = found * _between(0.5, 1, (count, 1, _THINGS, 1, 1), draw)
    return bright


def _drawn(looks: Tensor, corners: Tensor, side: Tensor, shown: Tensor) -> Tensor:
    """Frames of the things at their places, (n, 16, 32, 32) in [0, 1]; the brighter is seen."""
    count = len(looks)
    pixels = torch.arange(SIDE) + 0.5
    at = (pixels - corners.unsqueeze(-1)) / side.unsqueeze(-1) * 2 - 1
    across = at[..., 0, None, :].expand(-1, -1, -1, SIDE, -1)
    down = at[..., 1, :, None].expand(-1, -1, -1, -1, SIDE)
    grid = torch.stack([across, down], -1).flatten(0, 2)
    found = grid_sample(looks.flatten(0, 2)[:, None], grid, align_corners=False)
    found = found.view(count, FRAMES, _THINGS, SIDE, SIDE) * shown[..., None, None]
    return found.amax(2)


def _lit(frames: Tensor, spoiled: dict[str, Tensor], draw: torch.Generator) -> Tensor:
    """Before a background, in some light, and with the noise and flicker that spoil them."""
    count = len(frames)
    one = (count, 1, 1, 1)
    texture = torch.rand(count, 1, 6, 6, generator=draw)
    texture = interpolate(texture, (SIDE, SIDE), mode="bilinear") * _between(0, 0.5, one, draw)
    behind = torch.where(torch.rand(one, generator=draw) < 0.6, 0.0, texture)
    found = torch.maximum(frames, behind)
    light = spoiled["flicker"][:, None, None, None]
    found = found * (1 - light * torch.rand(count, FRAMES, 1, 1, generator=draw))
    found = torch.where(torch.rand(one, generator=draw) < 0.15, 1 - found, found)
    noise = torch.randn(found.shape, generator=draw)
    return found + 0.5 * spoiled["noise"][:, None, None, None] * noise


def _told(path: Tensor, shown: Tensor) -> Tensor:
    """The first seven of `TOLD`, in their units: means over the things that are shown, (n, 7)."""
    steps = path.diff(dim=1)
    weights = shown.float() / shown.sum(2, keepdim=True)
    turns = (steps[:, 1:] * steps[:, :-1] < 0).float().sum(1, keepdim=True).sum(-1)
    halves = [steps[:, : FRAMES // 2], steps[:, FRAMES // 2 :]]
    means = [half.mean(1, keepdim=True) for half in halves]
    found = [
        steps.norm(dim=-1).mean(1, keepdim=True),
        turns,
        steps.diff(dim=1).norm(dim=-1).mean(1, keepdim=True),
        *[mean[..., axis] for mean in means for axis in (0, 1)],
    ]
    return torch.cat([(each * weights).sum(2) for each in found], 1)
