"""Motion as a function of time: what a clip's generator is told of the moment of a frame.

After Skorokhodov et al., "StyleGAN-V: A Continuous Video Generator with the Price, Image Quality
and Perks of StyleGAN2" (CVPR 2022), section 3.1. Noise sits at knots, evenly spaced in time. Two
convolutions over time smooth it to codes u. Write l and r for the knots around a time t, s for the
share of the way from l to r, and lerp(a, b) for (1 - s) a + s b. With periods and phases that are
learned functions of u_l, pe(t) is the vector of sines and cosines of all frequencies, and

    v(t) = pe(t) - lerp(pe(l), pe(r)) + lerp(A u_l, A u_r).

The bracket of waves is 0 at both knots, so that v passes them without a jump although the waves
change there. Here waves count time from their own knot, where the published ones count it from the
clip's start: what lies between two knots is then the same function of the noise around them at any
time of a clip, however long it is.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from math import log2, pi, sqrt
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from distgan.config.settings import SETTINGS, Width

SLOPE = 0.2
"""Of leaky ReLUs."""
GAIN = sqrt(2 / (1 + SLOPE**2))
"""Of weights in front of one (He et al. 2015)."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MotionSettings:
    """Noise at knots, how it is smoothed, and the waves between knots."""

    size: Width = 512
    """Length of the noise at a knot, and of its code."""
    knot_distance: Annotated[int, Field(gt=0, le=2**16)] = 16
    """Stored frames from one knot to the next."""
    kernel: Annotated[int, Field(gt=0, le=1_001)] = 11
    """Knots that each of the two convolutions over time looks at."""
    frequencies: Width = 256
    """Waves; the motion of a moment is a vector of twice as many numbers."""
    shortest_period: PositiveFloat = 16.0
    """Stored frames of the fastest wave, before its learned factor from 0 to 2."""
    longest_period: PositiveFloat = 1024.0
    """Stored frames of the slowest wave; periods between are evenly spaced in their logarithm."""

    @property
    def width(self) -> int:
        """Length of the motion of a moment."""
        return 2 * self.frequencies

    @property
    def extra(self) -> int:
        """Knots that the two convolutions use up, as they see nothing beyond the noise."""
        return 2 * (self.kernel - 1)

    def knots(self, last: float) -> int:
        """Knots of noise for times from 0 to ``last``."""
        return int(last // self.knot_distance) + 2 + self.extra


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Without autocast: a bfloat16 number holds the times of 256 frames, and no halves of them."""
    # The meta device has no autocast.
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


class MotionCodes(nn.Module):
    """v(t) of noise at knots, the first of whose codes is at time 0. Always in full precision."""

    def __init__(self, settings: MotionSettings) -> None:
        super().__init__()
        size, waves = settings.size, settings.frequencies
        self.distance = settings.knot_distance
        self.smooth = nn.ModuleList(nn.Conv1d(size, size, settings.kernel) for _ in range(2))
        self.periods = nn.Linear(size, waves, bias=False)
        self.phases = nn.Linear(size, waves, bias=False)
        self.aligners = nn.Linear(size, 2 * waves, bias=False)
        for convolution in self.smooth:
            assert isinstance(convolution, nn.Conv1d)
            assert convolution.bias is not None
            nn.init.normal_(convolution.weight, 0.0, GAIN / sqrt(size * settings.kernel))
            nn.init.zeros_(convolution.bias)
        for linear in (self.periods, self.phases, self.aligners):
            nn.init.normal_(linear.weight, 0.0, 1 / sqrt(size))
        self.ends = log2(settings.shortest_period), log2(settings.longest_period)

    def forward(self, noise: Tensor, times: Tensor) -> Tensor:
        """What moves at each time.

        Args:
            noise: standard normal, float (n, knots, size), of `MotionSettings.knots` knots or more.
            times: in stored frames, float (n, k), from 0 on.

        Returns:
            float (n, k, 2 frequencies): as many sines, then cosines.
        """
        with full_precision(times.device):
            codes = noise.transpose(1, 2)
            for convolution in self.smooth:
                codes = functional.leaky_relu(convolution(codes), SLOPE)
            return self._at(codes.transpose(1, 2), times / self.distance)

    def _at(self, codes: Tensor, places: Tensor) -> Tensor:
        """Of codes, float (n, knots, size), and times in knots, float (n, k)."""
        left = places.floor()
        share = (places - left).unsqueeze(2)
        knots = torch.arange(codes.shape[1], device=codes.device)
        # Products with ones and zeros: an index has a gradient that a GPU adds up in any order.
        at_left = (left.unsqueeze(2) == knots).to(codes.dtype)
        at_right = ((left + 1).unsqueeze(2) == knots).to(codes.dtype)
        octaves = torch.linspace(
            *self.ends, self.periods.out_features, dtype=codes.dtype, device=codes.device
        )
        frequencies = 2 * pi / torch.exp2(octaves)
        speeds = frequencies * (at_left @ (self.periods(codes).tanh() + 1))
        phases = at_left @ self.phases(codes)

        def waves(since: Tensor | float) -> Tensor:
            raw = speeds * since + phases
            return torch.cat([raw.sin(), raw.cos()], 2)

        aligned = self.aligners(codes)
        aligned = torch.lerp(at_left @ aligned, at_right @ aligned, share)
        chord = torch.lerp(waves(0.0), waves(self.distance), share)
        return waves(self.distance * share) - chord + aligned
