"""The only place that knows about processes: who takes part, and what they exchange."""

from __future__ import annotations

from distgan.parallel.batchnorm import has_batch_norm
from distgan.parallel.world import World

__all__ = ["World", "has_batch_norm"]
