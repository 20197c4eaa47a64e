"""Opens the sets of a run in resident or in streaming mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from distgan.config.clip import FrameRule
from distgan.config.run import RunConfig
from distgan.data.clips.decode import WholeClips
from distgan.data.clips.resident import ResidentClips
from distgan.data.clips.view import View
from distgan.data.damage import Damage
from distgan.data.feed import SampleSource
from distgan.data.images import ImageSet
from distgan.data.pixels import Pixels
from distgan.data.resident import Resident
from distgan.data.sides import Side, halves
from distgan.data.streaming import Reader, Streamed
from distgan.parallel import World


class Access(NamedTuple):
    """How a set is read: as a whole into memory, or fragments of it in order."""

    resident: Callable[[], Pixels | WholeClips]
    reader: Reader


def open_sides(
    config: RunConfig,
    images: ImageSet,
    other: ImageSet | None,
    world: World,
    access: Callable[[ImageSet, bool], Access],
    damage: Damage,
    pairs: bool,
    rule: FrameRule | None = None,
) -> tuple[SampleSource, SampleSource | None]:
    """The sources of a run's columns of its set, and of those of its second set if it has one.

    Args:
        other: the second set; None also where the two sides are halves of ``images``.
        access: maps a set, and whether its pairs are wanted, to how it is read.
        pairs: whether the column of pairs of the first set is read.
        rule: which frames of a set of clips a sample sees; None for images.

    Raises:
        UserError: for a set that cannot be read.
    """

    def opened(of: ImageSet, side: Side) -> SampleSource:
        wanted = pairs and not side.second
        read = access(of, wanted)
        return open_rows(
            config, of, world, **read._asdict(), damage=damage, pairs=wanted, side=side, rule=rule
        )

    if config.halved:
        first, second = halves(images.count)
        return opened(images, Side(first)), opened(images, Side(second, second=True))
    source = opened(images, Side(range(images.count)))
    if other is None:
        return source, None
    return source, opened(other, Side(range(other.count), second=True))


def open_rows(
    config: RunConfig,
    images: ImageSet,
    world: World,
    *,
    resident: Callable[[], Pixels | WholeClips],
    reader: Reader,
    damage: Damage,
    pairs: bool = False,
    side: Side | None = None,
    rule: FrameRule | None = None,
) -> SampleSource:
    """The source of images for the mode that the configuration names.

    Args:
        resident: returns the whole set in memory; called in resident mode only.
        reader: reads fragments in their order; used in streaming mode only.
        pairs: whether both read the column of pairs.
        side: which images of the set, and in which order; None for all, in that of a run's set.
        rule: which frames of a set of clips a sample sees, and the reader decodes; None for images.

    Raises:
        UserError: for a set that cannot be read.
    """
    side = side or Side(range(images.count))
    view = None if rule is None else View(rule, config.seed, f"frames{side.suffix}")
    if config.feed.way == "resident":
        whole = resident()
        if isinstance(whole, WholeClips):
            assert view is not None
            return ResidentClips(whole, view, config.micro_batch, world, damage, side)
        return Resident(whole, config.seed, config.micro_batch, world, damage, side)
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
        side,
        view,
    )
