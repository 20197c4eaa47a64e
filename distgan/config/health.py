"""What a run does when training fails: diverges, stalls or collapses."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from distgan.config.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class HealthSettings:
    """The monitor of health, which judges every record."""

    action: Literal["warn", "stop", "rollback"] = "warn"
    """On an ill state: warn; stop, with a checkpoint; or rollback to the last healthy checkpoint
    and go on with `change`. Values that are not finite stop a run that only warns."""
    patience: PositiveInt = 3
    """Records in a row that show a state before it is named; not finite is named at once."""
    change: Literal["halve-lr", "double-r1", "both"] = "halve-lr"
    """What a rollback changes: all learning rates, a GAN's weight of R1, or all of them."""
    rollbacks: NonNegativeInt = 3
    """Rollbacks before the run is given up."""
