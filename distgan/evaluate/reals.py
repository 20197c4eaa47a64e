"""Feature statistics of a data set's own images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan import draws
from distgan.config.evaluate import EvaluateSettings
from distgan.data import manifest
from distgan.data.fragments import read_numbered
from distgan.data.images import ImageSet, open_images
from distgan.data.unfinished import VALIDATION
from distgan.errors import UserError
from distgan.evaluate import cache
from distgan.evaluate.extraction import (
    BLOCK,
    among_own,
    extract_all_ranks,
    features_of,
    own_places,
)
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.evaluate.measures import WANT_TRAINING
from distgan.features.base import Extractor
from distgan.parallel import World
from distgan.storage.storage import Storage

_MOST_TRAINING, _MOST_HELD_OUT = 60_000, 5_000


class Reals:
    """The real images that generated ones are compared with.

    All ranks must construct it with the same arguments.
    """

    def __init__(self, images: ImageSet, settings: EvaluateSettings, world: World) -> None:
        self._images = images
        self.count = min(settings.num, images.count)
        self.checksum = checksum_of(images, world)
        self._wants_training = bool(WANT_TRAINING & set(settings.metrics))
        self._held_out = held_out_of(images, settings) if self._wants_training else None
        self.held_out = min(self._held_out.count, _MOST_HELD_OUT) if self._held_out else 0
        self._held_out_checksum = self._held_out and checksum_of(self._held_out, world)

    def features(self, extractor: Extractor, world: World) -> FeatureStatistics:
        """Their statistics under an extractor, cached if possible; all ranks must call it.

        Raises:
            UserError: for a set that cannot be read.
        """
        key = {
            "data": self.checksum,
            "extractor": extractor.hash,
            "count": self.count,
            "training": self._wants_training,
            "held_out": self._held_out_checksum,
        }
        return cache.load_or_compute(key, lambda: self._extract(extractor, world), world)

    def _extract(self, extractor: Extractor, world: World) -> FeatureStatistics:
        places = own_places(self.count, world)
        pixels, own_labels = read_images(self._images, mixed(self._images, self.count)[places])
        labels = None
        if own_labels is not None:
            labels = torch.empty(self.count, dtype=torch.int64)
            for where, its in world.gather((places, own_labels)):
                labels[torch.from_numpy(where)] = its

        def block(numbers: range) -> Tensor:
            return pixels[among_own(numbers, world)].to(world.device)

        found = extract_all_ranks(block, self.count, extractor, world, labels)
        if not self._wants_training:
            return found
        training = features_of(_own_blocks(self._images, _MOST_TRAINING, world), extractor, world)
        held_out = None
        if self._held_out is not None:
            held_out = features_of(
                _own_blocks(self._held_out, _MOST_HELD_OUT, world), extractor, world
            )
        return FeatureStatistics(
            found.moments,
            found.features,
            found.probabilities,
            found.counts,
            found.pixels,
            found.labels,
            training,
            held_out,
        )


def mixed(images: ImageSet, num: int) -> NDArray[np.int64]:
    """`_evenly` in an order that is always the same: int64 (num,). Sets may be sorted by class, and
    features of the first images only are kept."""
    return _evenly(images, num)[draws.permutation(0, "reals", 0, num)]


def _evenly(images: ImageSet, num: int) -> NDArray[np.int64]:
    """Indices of ``num`` images, evenly spaced over the whole set, ascending: int64 (num,)."""
    return np.arange(num) * images.count // num


class StoredRows(NamedTuple):
    """Some rows of a set as they are stored.

    ``images`` and ``pairs`` are uint8 (n, c, h, w), of shapes of their own, and ``labels`` int64
    (n,); None where the set has none, or pairs were not asked for.
    """

    images: Tensor
    labels: Tensor | None
    pairs: Tensor | None = None


def read_images(images: ImageSet, numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
    """Some images in any order, uint8 (n, c, h, w), and labels, int64 (n,), or None."""
    return read_rows(images, numbers)[:2]


def read_rows(images: ImageSet, numbers: NDArray[np.int64], pairs: bool = False) -> StoredRows:
    """Some rows in any order.

    Args:
        pairs: read the column of pairs too, which the set must have.

    Raises:
        UserError: for a set that cannot be read.
    """
    order = torch.from_numpy(np.argsort(numbers))
    found = torch.empty((len(numbers), *images.shape), dtype=torch.uint8)
    labels = torch.empty(len(numbers), dtype=torch.int64) if images.classes else None
    partners = None
    if pairs and images.pair is not None:
        partners = torch.empty((len(numbers), *images.pair), dtype=torch.uint8)
    at = 0
    for piece in read_numbered(images, numbers[order.numpy()], partners is not None):
        here = order[at : at + len(piece.images)]
        found[here] = _channels_first(piece.images)
        if labels is not None:
            # A copy: torch warns of arrays that cannot be written to.
            labels[here] = torch.tensor(piece.labels)
        if partners is not None and piece.pairs is not None:
            partners[here] = _channels_first(piece.pairs)
        at += len(piece.images)
    return StoredRows(found, labels, partners)


def _own_blocks(images: ImageSet, most: int, world: World) -> Iterator[tuple[int, Tensor]]:
    """This rank's blocks of up to ``most`` images, evenly spaced over the set, and the blocks'
    numbers: uint8 (`BLOCK`, c, h, w), fewer in the last one."""
    num = min(most, images.count)
    left, number = torch.empty(0), world.rank
    for piece in read_numbered(images, _evenly(images, num)[own_places(num, world)]):
        found = _channels_first(piece.images)
        left = torch.cat([left, found]) if len(left) else found
        while len(left) >= BLOCK:
            yield number, left[:BLOCK]
            left, number = left[BLOCK:], number + world.size
    if len(left):
        yield number, left


def _channels_first(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def held_out_of(
    images: ImageSet, settings: EvaluateSettings, labelled: bool = False
) -> ImageSet | None:
    """The images that are known not to be trained on: those of the setting ``held_out``, or those
    that `distgan data prepare --validation` held out of the set; None where there are neither.

    Args:
        labelled: whether their labels have to be those of ``images``.

    Raises:
        UserError: for a set that cannot be read, or whose images are not of the same kind.
    """
    if not settings.held_out:
        storage = Storage(images.uri).child(VALIDATION)
        return open_images(storage.anywhere()) if manifest.read(storage) is not None else None
    option = f"--evaluate.held_out {settings.held_out}"
    try:
        found = open_images(settings.held_out)
    except UserError as error:
        raise UserError(str(error).replace("--data", "--evaluate.held_out", 1)) from None
    if found.uri == images.uri:
        raise UserError(f"{option}: is the set that was trained on; name another, or leave it out")
    if found.shape != images.shape:
        raise UserError(
            f"{option}: holds images of {found.shape}, and the run's are of {images.shape}; make "
            "it with the same options of `distgan data prepare`"
        )
    if (found.clips is None) != (images.clips is None):
        kind, other = ("images", "clips") if found.clips is None else ("clips", "images")
        raise UserError(f"{option}: holds {kind}, and the run's set {other}; name a set of {other}")
    if labelled and found.classes != images.classes:
        raise UserError(
            f"{option}: has other classes than the run's set; make both from the same source"
        )
    return found


def checksum_of(images: ImageSet, world: World) -> str:
    """Checksum of a set's content: from its manifest, else of its files' bytes, which rank 0
    reads."""
    found: str = world.gather(_content(images) if world.leads else "")[0]
    return found


def _content(images: ImageSet) -> str:
    storage = Storage(images.uri)
    made = manifest.read(storage)
    digest = hashlib.sha256()
    if made is not None:
        digest.update(json.dumps([shard.sha256 for shard in made.files]).encode())
    else:
        for file in images.files:
            with images.filesystem.open_input_stream(file) as stream:
                while chunk := stream.read(2**24):
                    digest.update(chunk)
    return digest.hexdigest()[:16]
