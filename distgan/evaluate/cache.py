"""Cache of the real images' feature statistics, which no evaluated generator changes.

A file for every key in ``$XDG_CACHE_HOME/distgan/statistics``; any of them may be deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from distgan.errors import UserError
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.parallel import World
from distgan.storage.scratch import cache_folder
from distgan.storage.storage import Storage

_FORMAT = 3
_T = TypeVar("_T")


def load_or_compute(
    what: dict[str, Any], compute: Callable[[], FeatureStatistics], world: World
) -> FeatureStatistics:
    """Feature statistics from the cache, else computed and stored; all ranks must call it.

    Args:
        what: everything that the statistics depend on, as JSON values; its hash is the key.
        compute: computes them. A collective operation, called on all ranks unless every rank found
            them in its cache.
    """
    return _kept(what, compute, FeatureStatistics.to_tensors, FeatureStatistics.from_tensors, world)


def tensors(
    what: dict[str, Any], compute: Callable[[], dict[str, Tensor]], world: World
) -> dict[str, Tensor]:
    """As `load_or_compute`, of tensors by name."""
    return _kept(what, compute, dict, dict, world)


def _kept(
    what: dict[str, Any],
    compute: Callable[[], _T],
    stored: Callable[[_T], dict[str, Tensor]],
    read: Callable[[dict[str, Tensor]], _T],
    world: World,
) -> _T:
    text = json.dumps({"format": _FORMAT, **what}, sort_keys=True)
    name = f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
    storage = Storage(cache_folder() / "statistics")
    known = _load(storage, name, read)
    # Computing is collective: if one rank lacks the file, all of them compute.
    everywhere = all(world.gather(known is not None))
    if known is not None and everywhere:
        return known
    found = compute()
    if known is None:
        with contextlib.suppress(UserError):
            storage.write(name, save_tensors(stored(found)))
    return found


def _load(storage: Storage, name: str, read: Callable[[dict[str, Tensor]], _T]) -> _T | None:
    # A damaged file counts as missing: it is computed again and replaced.
    try:
        return read(load_tensors(storage.read(name)))
    except Exception:
        # The library may raise any exception for a damaged file.
        return None
