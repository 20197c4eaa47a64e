"""The card that goes with every value: how it was measured, and against what."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Card:
    """Values whose cards differ are not comparable."""

    extractor: str
    extractor_hash: str
    resize: str
    """What the extractor does to an image before its network sees it."""
    quantised: bool
    """Whether generated images were rounded to 8 bits, as the real ones are."""
    data: str
    data_checksum: str
    split: str
    real: int
    """Real images."""
    held_out: int
    """Of them not trained on, that the nearness of generated images is compared with; 0 where
    there are none, and training images are left out in turn."""
    fake: int
    """Generated images."""
    weights: str
    """``ema`` or ``generator``."""
    seed: int
    used: str = ""
    """How many real and generated images each metric took of those there are."""
    arithmetic: str = ""
    """What the extractor computed in, and on which kind of device."""

    @property
    def key(self) -> str:
        """Eight hexadecimal digits, equal for equal cards.

        What the metrics used follows from the other fields, and belongs to those asked for. The
        arithmetic moves last digits only, and must not part a run's values that were taken on
        another machine.
        """
        aside = ("used", "arithmetic")
        fields = {name: value for name, value in asdict(self).items() if name not in aside}
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def to_dict(self) -> dict[str, Any]:
        """All fields, and the key."""
        return {"key": self.key, **asdict(self)}
