"""Cache of the real images' feature statistics, which no evaluated generator changes.

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

from distgan.errors import UserError
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.parallel import World
from distgan.storage.scratch import cache_folder
from distgan.storage.storage import Storage

_FORMAT = 3


def load_or_compute(
    what: dict[str, Any], compute: Callable[[], FeatureStatistics], world: World
) -> FeatureStatistics:
    """Feature statistics from the cache, else computed and stored; all ranks must call it.

    Args:
        what: everything that the statistics depend on, as JSON values; its hash is the key.
        compute: computes them. A collective operation, called on all ranks unless every rank found
            them in its cache.
    """
    text = json.dumps({"format": _FORMAT, **what}, sort_keys=True)
    name = f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
    storage = Storage(cache_folder() / "statistics")
    known = _load(storage, name)
    # Computing is collective: if one rank lacks the file, all of them compute.
    everywhere = all(world.gather(known is not None))
    if known is not None and everywhere:
        return known
    found = compute()
    if known is None:
        with contextlib.suppress(UserError):
            storage.write(name, save_tensors(found.to_tensors()))
    return found


def _load(storage: Storage, name: str) -> FeatureStatistics | None:
    # A damaged file counts as missing: it is computed again and replaced.
    try:
        return FeatureStatistics.from_tensors(load_tensors(storage.read(name)))
    except Exception:
        # The library may raise any exception for a damaged file.
        return None
