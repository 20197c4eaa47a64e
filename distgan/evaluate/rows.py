"""Rows of a run's data that a model is shown: held-out ones where the sets have such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan.config.evaluate import EvaluateSettings
from distgan.data.clips.read import read_clips
from distgan.data.clips.view import View
from distgan.data.images import ImageSet
from distgan.errors import UserError
from distgan.evaluate.reals import StoredRows, held_out_of, mixed, read_rows
from distgan.families import Batch, Family
from distgan.families.data import Column

CLIPS_STREAM = "evaluate-frames"
"""The stream of numbers by which frames of a clip that is evaluated are chosen."""


@dataclass(frozen=True)
class ShownSet:
    """A set whose images a model is shown.

    ``split`` is ``held out`` for a set of its own that was named, ``validation`` for images that
    were kept out when the set was made, and ``train`` where there are neither.
    """

    images: ImageSet
    split: str

    def read(self, numbers: NDArray[np.int64], columns: Sequence[Column]) -> StoredRows:
        """The rows of these numbers, in any order, with what these columns want of them."""
        return read_rows(self.images, numbers, any(column.kind == "pair" for column in columns))


def shown_set(
    images: ImageSet, settings: EvaluateSettings, labelled: bool = False, pairs: bool = False
) -> ShownSet:
    """What is shown of a run's set.

    Args:
        labelled: whether labels have to be those of ``images``.
        pairs: whether there have to be pairs of the shape of those of ``images``.

    Raises:
        UserError: for a set of held-out images that cannot be read or is of another kind.
    """
    held_out = held_out_of(images, settings, labelled)
    if held_out is None:
        return ShownSet(images, "train")
    if pairs and held_out.pair != images.pair:
        raise UserError(
            f"--evaluate.held_out {settings.held_out or held_out.uri}: has "
            f"{f'pairs of {held_out.pair}' if held_out.pair else 'no pairs'}, and the run's set "
            f"has pairs of {images.pair}; make both from the same source"
        )
    return ShownSet(held_out, "held out" if settings.held_out else "validation")


def shown_sets(
    images: ImageSet, other: ImageSet | None, settings: EvaluateSettings, family: Family
) -> tuple[ShownSet, ShownSet | None]:
    """What is shown of a run's set, and of its second one where there is one.

    Of the second set that is what was kept out when it was made.

    Raises:
        UserError: as `shown_set`.
    """
    pairs = any(column.kind == "pair" for column in family.columns().values())
    first = shown_set(images, settings, bool(family.labels), pairs)
    if other is None:
        return first, None
    return first, shown_set(other, replace(settings, held_out=""))


def shown_rows(
    images: ImageSet,
    other: ImageSet | None,
    settings: EvaluateSettings,
    family: Family,
    names: Sequence[str],
    count: int,
) -> Batch:
    """Rows of some of a family's columns: the same at every call, in the order of `mixed`.

    Args:
        other: the run's second set, where it has one.
        names: of the columns.
        count: of rows; where a set has fewer, they come again from the first.

    Returns:
        images as float32 (n, c, h, w) in [-1, 1], frames of clips as (n, frames, c, h, w), and
        labels, on the CPU, without draws.

    Raises:
        UserError: for a set that cannot be read.
    """
    own, second = shown_sets(images, other, settings, family)
    columns = family.columns()
    found: dict[str, Tensor] = {}
    for shown, seconds in ((own, False), (second, True)):
        wanted = {name: columns[name] for name in names if columns[name].second == seconds}
        if shown is None or not wanted:
            continue
        numbers = np.resize(mixed(shown.images, min(count, shown.images.count)), count)
        if shown.images.clips is not None:
            rule = family.shown_rule
            assert rule is not None, "only families with a rule learn from clips"
            clips, labels = read_clips(
                shown.images, numbers, View(rule, settings.seed, CLIPS_STREAM)
            )
            found |= named(StoredRows(clips, labels), wanted)
            continue
        found |= named(shown.read(numbers, list(wanted.values())), wanted)
    return Batch({name: found[name] for name in names if name in found}, {})


def named(rows: StoredRows, wanted: dict[str, Column]) -> dict[str, Tensor]:
    """Columns by name, images as float32 (n, ..., c, h, w) in [-1, 1]; labels where there are."""
    kinds = {"image": rows.images, "pair": rows.pairs, "label": rows.labels, "frames": rows.images}
    found = {}
    for name, column in wanted.items():
        values = kinds[column.kind]
        if values is not None:
            found[name] = values if column.kind == "label" else scaled(values)
    return found


def scaled(pixels: Tensor) -> Tensor:
    """uint8 in [0, 255] to float32 in [-1, 1]."""
    found: Tensor = pixels.to(torch.float32) / 127.5 - 1
    return found
