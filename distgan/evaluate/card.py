"""The card stored with every value: how it was measured, and against what."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Card:
    """How values were measured. Values whose cards differ are not comparable."""

    extractor: str
    """Empty, as the hash and the resizing, where no metric wants one."""
    extractor_hash: str
    resize: str
    """How the extractor resizes and scales an image before its network."""
    quantised: bool
    """Whether generated images were rounded to 8 bits, as the real ones are."""
    data: str
    data_checksum: str
    split: str
    real: int
    """Real images."""
    held_out: int
    """Those of them not trained on, to which distances of generated images are compared; 0 where
    there are none, so that training images are left out one at a time instead."""
    fake: int
    """Generated images."""
    weights: str
    """``ema`` or ``generator``."""
    seed: int
    labels: str = ""
    """How often each label was given to a conditional generator; empty where all take turns."""
    encoded: int = 0
    """Images that the encoder of a model that has one was measured by, and what follows of them."""
    encoded_split: str = ""
    """``held out`` for a set of its own that was named, ``validation`` for images that were kept
    out when the set was made, ``train`` where there are neither."""
    encoded_checksum: str = ""
    importance_samples: int = 0
    """K of the importance-weighted bound."""
    likelihood: str = ""
    """Of the decoder: its name, and whether it is a density or what else."""
    translated: int = 0
    """Images that were translated, for a model that makes images of images, and what follows."""
    translated_split: str = ""
    """As ``encoded_split``. Of such a model ``real`` counts images of the side of the outputs, and
    ``split`` says of them what this says of the images that were translated."""
    translated_checksum: str = ""
    direction: str = ""
    task: str = ""
    """What made the input of each image; empty where both sides are stored."""
    clip_frames: int = 0
    """Frames of a clip, for a model that makes clips, and what follows. Of such a model ``real``
    and ``fake`` count clips, and ``split`` is as ``encoded_split``."""
    clip_stride: int = 0
    """Stored frames from one of them to the next."""
    clip_start: str = ""
    """Where in its clip the first of them lies."""
    clip_checksum: str = ""
    """Of the set that real clips come from."""
    clip_frame: str = ""
    """Which frame of a clip the extractor sees."""
    motion: str = ""
    """The network that sees clips, what its weights are known by, and how clips are resized."""
    motion_hash: str = ""
    motion_resize: str = ""
    digits: str = ""
    """What reads the digits in frames, and of how many clips."""
    used: str = ""
    """How many of the real and generated images each metric used."""
    bias: str = ""
    """Which values depend on how many images there are."""
    arithmetic: str = ""
    """The extractor's floating-point format, and the kind of device."""

    @property
    def key(self) -> str:
        """Eight hexadecimal digits, equal for equal cards.

        ``used`` and ``bias`` are not part of it: they follow from the other fields and the
        requested metrics.
        Nor is ``arithmetic``, which changes last digits only: values of one run that were
        measured on different machines stay comparable.
        """
        aside = ("used", "bias", "arithmetic")
        named = {name: value for name, value in self._said().items() if name not in aside}
        text = json.dumps(named, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def to_dict(self) -> dict[str, Any]:
        """The key, and all fields; those of labels, an encoder, a translation or clips only where
        there are any."""
        return {"key": self.key, **self._said()}

    def _said(self) -> dict[str, Any]:
        found = asdict(self)
        return {name: value for name, value in found.items() if name not in _OPTIONAL or value}


_OPTIONAL = (
    "labels",
    *("encoded", "encoded_split", "encoded_checksum", "importance_samples", "likelihood"),
    *("translated", "translated_split", "translated_checksum", "direction", "task"),
    *("clip_frames", "clip_stride", "clip_start", "clip_checksum", "clip_frame"),
    *("motion", "motion_hash", "motion_resize", "digits"),
)
"""Fields that other cards go without, so that their keys stay as they were."""
