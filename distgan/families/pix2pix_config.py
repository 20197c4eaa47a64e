"""The configuration of pix2pix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic.dataclasses import dataclass

from distgan.config.schedule import Schedule, Strength
from distgan.config.settings import SETTINGS
from distgan.families.translation_config import PairedConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class Pix2PixConfig(PairedConfig):
    """Everything that decides what a run of pix2pix computes, whatever it runs on."""

    family: Literal["pix2pix"] = "pix2pix"
    """The family of models. Decides what other settings there are."""
    l1: Strength = Schedule(100)
    """Weight of the mean absolute difference of output and target, pixels being in [-1, 1]."""

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from PairedConfig.contradictions(self)
        if self.adversarial.is_zero and self.l1.is_zero:
            yield "--adversarial 0: with --l1 0 too nothing is minimised; raise one of them"
