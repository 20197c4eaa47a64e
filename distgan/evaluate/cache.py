"""What was seen of real images, kept between evaluations: it depends on no generator.

A file for every key in ``$XDG_CACHE_HOME/distgan/statistics``; any of them may be deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from typing import Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from distgan.data.sources.named import cache_folder
from distgan.errors import UserError
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.parallel import World
from distgan.storage.storage import Storage

_FORMAT = 2


def recall(
    what: dict[str, Any], see: Callable[[], FeatureStatistics], world: World
) -> FeatureStatistics:
    """The evidence that is kept for a key, or what ``see`` finds; all ranks must call it.

    Args:
        what: all that the evidence depends on, as JSON can hold it.
        see: a collective operation, called on all ranks unless all of them have it.
    """
    text = json.dumps({"format": _FORMAT, **what}, sort_keys=True)
    name = f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
    storage = Storage(cache_folder() / "statistics")
    known = _load(storage, name)
    # A rank that lacks it cannot look again alone.
    everywhere = all(world.gather(known is not None))
    if known is not None and everywhere:
        return known
    found = see()
    if known is None:
        with contextlib.suppress(UserError):
            storage.write(name, save_tensors(found.to_tensors()))
    return found


def _load(storage: Storage, name: str) -> FeatureStatistics | None:
    # What is damaged is seen again, and replaced.
    try:
        return FeatureStatistics.from_tensors(load_tensors(storage.read(name)))
    except Exception:
        # Whatever the library raises while it reads a damaged file.
        return None
