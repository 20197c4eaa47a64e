"""From the opened sets of a run to what its networks have to know of them."""

from __future__ import annotations

from distgan.config.clip import FrameRule
from distgan.config.run import RunConfig
from distgan.data.images import ImageSet
from distgan.errors import UserError
from distgan.families import DataSpec, build


def data_spec(images: ImageSet, other: ImageSet | None = None) -> DataSpec:
    """Shapes and labels of a run's data.

    Args:
        other: the run's second set, where it has one.
    """
    return DataSpec(
        images.shape,
        images.classes,
        images.pair,
        None if other is None else other.shape,
        images.clips,
    )


def reads_pairs(config: RunConfig, images: ImageSet) -> bool:
    """Whether a run reads the column of pairs of its set.

    Raises:
        UserError: when it wants pairs and the set has none.
    """
    columns = build(config, data_spec(images)).columns()
    wanted = any(column.kind == "pair" for column in columns.values())
    if wanted and images.pair is None:
        raise UserError(
            f"--data {config.data}: holds no pairs (a column 'pair' of images of one shape), which "
            f"{config.family} is trained on; make a set of them with `distgan data prepare --pairs`"
        )
    return wanted


def frame_rule(config: RunConfig, images: ImageSet) -> FrameRule | None:
    """Which frames of its clip a sample of a run sees; None for a run on images.

    Raises:
        UserError: when the run learns from clips and the set holds images, or the other way round.
    """
    family = build(config, data_spec(images))
    if images.clips is not None or family.makes_clips:
        family.check_data()
    return family.frame_rule
