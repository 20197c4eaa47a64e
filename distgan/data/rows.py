"""Opens a set in resident or in streaming mode."""

from __future__ import annotations

from collections.abc import Callable

from distgan.config.run import RunConfig
from distgan.data.damage import Damage
from distgan.data.feed import SampleSource
from distgan.data.images import ImageSet
from distgan.data.pixels import Pixels
from distgan.data.resident import Resident
from distgan.data.streaming import Reader, Streamed
from distgan.parallel import World


def open_rows(
    config: RunConfig,
    images: ImageSet,
    world: World,
    *,
    resident: Callable[[], Pixels],
    reader: Reader,
    damage: Damage,
    pairs: bool = False,
) -> SampleSource:
    """The source of images for the mode that the configuration names.

    Args:
        resident: returns the whole set in memory; called in resident mode only.
        reader: reads fragments in their order; used in streaming mode only.
        pairs: whether both read the column of pairs.

    Raises:
        UserError: for a set that cannot be read.
    """
    if config.feed.way == "resident":
        return Resident(resident(), config.seed, config.micro_batch, world, damage)
    # The last batch may begin just before the end, and want samples of the one after it.
    end = config.images + 2 * config.batch
    return Streamed(
        images,
        config.feed,
        config.seed,
        config.batch,
        config.micro_batch,
        end,
        world,
        reader,
        damage,
        pairs,
    )
