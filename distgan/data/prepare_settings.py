"""The settings of `distgan data prepare`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from distgan.config import settings
from distgan.config.settings import SETTINGS, Count, PositiveCount
from distgan.data.transform import Transform


def _parse_size(value: Any) -> Any:
    """``64`` or ``48x64``, height by width."""
    if not isinstance(value, (str, int)):
        return value
    parts = str(value).lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise ValueError("should be a number such as 64, or height by width such as 48x64")
    return (parts * 2)[:2]


_Side = Annotated[int, Field(ge=1, le=16384)]
Size = Annotated[tuple[_Side, _Side], BeforeValidator(_parse_size)]
"""Height and width."""

CLIP_OPTIONS = ("clips", "frames", "short", "cut", "fps")
"""Settings of sets of clips only."""


@dataclass(frozen=True, config=SETTINGS)
class PrepareSettings:
    """How a set is made from a source."""

    split: Literal["train", "test"] = "train"
    """Which part of the source."""
    size: Size | None = None
    """Height and width to resize to; None leaves images as they are, all of one size."""
    crop: Literal["center", "none"] = "center"
    """Where ``size`` has other proportions: cut out the middle, or distort."""
    filter: Literal["lanczos", "bicubic", "bilinear", "box"] = "lanczos"
    """Pillow's filter for resizing; all of them are antialiased."""
    channels: Literal["auto", "gray", "rgb"] = "auto"
    """1 or 3 channels; ``auto`` takes what the first image has."""
    pairs: Literal["side-by-side", "folders", "unpaired"] | None = None
    """How the source holds two domains: A|B images, folders A and B of equal names, or folders
    whose images belong to no others, of which two sets are made."""
    pair_size: Size | None = None
    """Height and width of the pairs; None for ``size``."""
    pair_channels: Literal["auto", "gray", "rgb"] | None = None
    """The same of the pairs; None for ``channels``."""
    subset: PositiveCount | None = None
    """Take that many images, drawn by ``seed``, in the source's order; stacked-mnist is made with
    that many."""
    validation: Count = 0
    """Images, drawn by ``seed`` out of those taken, for a set of their own in ``validation``."""
    shard_size: PositiveCount = 64
    """Megabytes (10^6 bytes) of decoded pixels in a shard, at most; but one row group at least."""
    store: Literal["raw", "png", "original"] = "raw"
    """Pixels, PNG, or the source's own bytes where an image needs no change (else PNG)."""
    skip_bad: Count = 0
    """Bad images, or bad clips, that may be left out."""
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 0
    """Of ``subset`` and ``validation``, and of sets that are made, such as stacked-mnist."""
    clips: Literal["frames", "files", "strips", "stack", "panning"] | None = None
    """How the source holds clips: a folder of frames of each; a video or animation of each; an
    image of each with its frames in a row; one array of all. Or a window that moves over each
    image of a set."""
    frames: Annotated[int, Field(ge=2, le=65536)] | None = None
    """Frames that a clip must have; those of panning have exactly so many."""
    short: Literal["drop", "loop"] | None = None
    """What becomes of clips with fewer ``frames``: left out, or repeated from their beginning
    until they have so many. None is ``drop``."""
    cut: Annotated[int, Field(ge=2, le=65536)] | None = None
    """Cut longer ones into clips of so many frames; the rest is a clip if it has ``frames``, which
    are as many where they are not given."""
    fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Take frames at this rate, and write it down; None keeps all, whose rate must be the same."""

    @property
    def transforms(self) -> tuple[Transform, Transform]:
        """What is made of each image, and of each pair."""
        gray = {"auto": None, "gray": True, "rgb": False}
        image = Transform(self.size, self.crop, self.filter, gray[self.channels])
        size, channels = self.pair_size or self.size, self.pair_channels or self.channels
        return image, Transform(size, self.crop, self.filter, gray[channels])

    def told(self) -> dict[str, Any]:
        """As a dictionary, without options of pairs and of clips that were not given."""
        found = settings.to_dict(self)
        # The manifest of a set without them is as it was before there were such options.
        later = {"pairs", "pair_size", "pair_channels", *CLIP_OPTIONS}
        return {name: at for name, at in found.items() if at is not None or name not in later}
