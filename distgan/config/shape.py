"""The shape of an image, known to data and networks alike; imports nothing heavy."""

from __future__ import annotations

from typing import NamedTuple


class ImageShape(NamedTuple):
    """Channels, height and width of the images of a run."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        """As people write it: height x width x channels."""
        return f"{self.height}x{self.width}x{self.channels}"
