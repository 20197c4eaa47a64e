"""What moves the weights of a network, and what averages them."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from distgan.config.schedule import Decay, Rate, Schedule, Strength
from distgan.config.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AdamSettings:
    """Adam (Kingma and Ba, ICLR 2015)."""

    lr: Rate = Schedule(2e-4)
    """Learning rate; 2e-4:0:5M:linear for one that falls to 0 over 5M images."""
    beta1: Decay = Schedule(0)
    """Decay of the first moment; GANs rarely gain from momentum."""
    beta2: Decay = Schedule(0.99)
    """Decay of the second moment."""
    eps: PositiveFloat = 1e-8
    """Added to the root of the second moment."""
    weight_decay: NonNegativeFloat = 0.0
    """Adds so many times each weight to its gradient: L2 regularisation, not AdamW's decay."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EMASettings:
    """Exponential moving average of a network's weights."""

    half_life: Strength = Schedule(20_000)
    """Images after which a past weight counts half; 0 copies the network."""
    ramp_up: NonNegativeFloat = 0.05
    """The half-life is at most this share of the images seen so far; 0 for no ramp."""
