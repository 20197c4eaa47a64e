"""The configuration of CycleGAN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from distgan.config.schedule import Schedule, Strength
from distgan.config.settings import SETTINGS
from distgan.families.translation_config import UnpairedConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CycleGANConfig(UnpairedConfig):
    """Everything that decides what a run of CycleGAN computes, whatever it runs on.

    There are two generators and two discriminators, each pair of one kind of network.
    """

    family: Literal["cyclegan"] = "cyclegan"
    """The family of models. Decides what other settings there are."""
    cycle: Strength = Schedule(10)
    """Weight of the mean absolute difference of an image and its translation there and back,
    pixels being in [-1, 1]; on both sides. The adversarial losses have 1."""
    identity: Strength = Schedule(0.5)
    """Weight, as a multiple of --cycle, of the mean absolute change by a generator of an image that
    is of its target side already; keeps colours. Sides must be of equal shapes. 0: none."""
    pool: Annotated[int, Field(ge=0, le=100_000)] = 50
    """Earlier fakes of each side, of which the discriminator is shown one in two in the place of
    new ones (Shrivastava et al. 2017). Every worker holds two pools of so many images on its
    device. 0: new ones only."""

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from UnpairedConfig.contradictions(self)
        if self.cycle.is_zero and not self.identity.is_zero:
            yield (
                f"--identity {self.identity}: is a multiple of --cycle, which is 0; raise that, or "
                "use --identity 0"
            )
