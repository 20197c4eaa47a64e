"""How images get from a set to the workers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from distgan.config.settings import SETTINGS, Count


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FeedSettings:
    """How images get from a set to the workers."""

    way: Literal["auto", "resident", "streaming"] = "auto"
    """Decoded once into memory that a node's workers share, or streamed; auto: by size."""
    window: Count = 0
    """Images in the shuffle window of streaming; 0: as many as 256 MB hold, decoded."""
    lanes: PositiveInt = 8
    """Parts of a streaming window that are shuffled apart; a worker reads its own only."""
    skip_bad: Annotated[int, Field(ge=0)] = 0
    """Damaged images to pass over, each replaced by its neighbour, before it is an error."""
    mirror: bool = False
    """Flip each real image left to right with probability 1/2."""
    load_size: Annotated[int, Field(ge=0, le=2**16)] = 0
    """Shorter side that each real image is enlarged to before a window of its own size is cut from
    it at random; 0: none. Images of a pair are cut alike, those of a second set on their own."""
