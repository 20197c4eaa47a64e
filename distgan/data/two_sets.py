"""Two sets, A and B, of a source whose images of two domains belong to no others."""

from __future__ import annotations

from collections.abc import Callable

from distgan.data import manifest
from distgan.data.manifest import MANIFEST, Manifest
from distgan.data.prepare import PrepareSettings, Progress, Tasks, prepare
from distgan.data.sources.sides import SIDES
from distgan.data.unfinished import BAD_IMAGES, VALIDATION, refuse_occupied
from distgan.storage.storage import Storage


def prepare_sides(
    source: str,
    out: str,
    options: PrepareSettings,
    *,
    tasks: Tasks | None = None,
    progress: Progress = lambda what, done, total: None,
    note: Callable[[str], object] = lambda text: None,
) -> dict[str, Manifest]:
    """Make the sets ``out/A`` and ``out/B``, each by `distgan.data.prepare.prepare`.

    If one fails, the other is removed.

    Args:
        source: a folder or zip with folders A and B, or such as trainA, trainB, testA and testB.
        options: of both sets; ``pairs`` are unpaired.

    Returns:
        their manifests, by side.

    Raises:
        UserError: when the source cannot be used, or there are sets already.
    """
    places = {side: f"{out.rstrip('/')}/{side}" for side in SIDES}
    for place in places.values():
        if Storage(place).exists():
            refuse_occupied(Storage(place), place)
    made: dict[str, Manifest] = {}
    try:
        for side, place in places.items():
            # Both sides are read from one listing, of which the remarks are.
            said = note if side == SIDES[0] else _unsaid
            made[side] = prepare(
                source, place, options, tasks=tasks, progress=progress, note=said, side=side
            )
    except BaseException:
        for side in made:
            _remove(Storage(places[side]))
        raise
    return made


def _unsaid(text: str) -> None: ...


def _remove(storage: Storage) -> None:
    """Delete the files of a set and of its validation set."""
    for each in (storage.child(VALIDATION), storage):
        known = manifest.read(each) if each.exists() else None
        if known is not None:
            # The manifest first: without it the rest is no set.
            for name in (MANIFEST, BAD_IMAGES, *(shard.name for shard in known.files)):
                if each.exists(name):
                    each.delete(name)
