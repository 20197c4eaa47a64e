"""What computing takes, and what waiting for the slowest of several adds."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Compute:
    """Seconds of one cycle, all of the discriminator's updates and the generator's, on one worker.

    Args:
        fixed: whatever the batch: optimizers, averaging, launching kernels.
        per_image: more for each image of the worker's share of a batch.
        floor: no cycle is shorter, as where the processor launches kernels more slowly than
            the GPU runs them.
        after: of all that, what begins when gradients have arrived.
        deviation: of the same cycle's seconds from one time to another, as a share of them.
    """

    fixed: float
    per_image: float
    floor: float = 0.0
    after: float = 0.0
    deviation: float = 0.0

    def seconds(self, images: float) -> float:
        """Of a cycle, when the share of a batch is so many images."""
        return max(self.floor, self.fixed + self.per_image * images)


@functools.cache
def expected_maximum(count: int) -> float:
    """Of so many standard normal numbers: the integral of x d(Phi(x)^n)."""
    if count == 1:
        return 0.0
    # By parts, with P = Phi^n: the integral of 1 - P over x > 0, less that of P over x < 0.
    step, reach = 1 / 256, 10
    points = [(i + 0.5) * step for i in range(reach * 256)]
    above = sum(-math.expm1(count * math.log1p(-_upper(x))) for x in points)
    below = sum(_upper(x) ** count for x in points)
    return step * (above - below)


def _upper(x: float) -> float:
    # P(X > x) of a standard normal X, to all digits where it is small.
    return math.erfc(x / math.sqrt(2)) / 2
