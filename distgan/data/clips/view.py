"""Which frames of which clip a sample sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distgan import draws
from distgan.config.clip import FrameRule


@dataclass(frozen=True)
class View:
    """A rule, and the stream of the numbers that it chooses frames by.

    Those of training belong to a sample, those of evaluation to a clip: its number in the set.
    """

    rule: FrameRule
    seed: int
    stream: str = "frames"

    def numbers(self, parts: Sequence[range]) -> NDArray[np.float32]:
        """What the rule chooses by, in (0, 1]: (samples in all parts, ``rule.numbers``)."""
        return draws.uniforms(self.seed, self.stream, parts, self.rule.numbers)
