"""The processes of a run and their communication, of which no other package has to know."""

from __future__ import annotations

from distgan.parallel.batchnorm import has_batch_norm
from distgan.parallel.world import World

__all__ = ["World", "has_batch_norm"]
