"""What is seen of a set's own images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan import draws
from distgan.data import manifest
from distgan.data.fragments import read_in_order, whole_set
from distgan.data.images import ImageSet, open_images
from distgan.data.pixels import Pixels
from distgan.data.unfinished import VALIDATION
from distgan.evaluate import cache
from distgan.evaluate.evidence import Evidence
from distgan.evaluate.gather import BLOCK, features_of, gather
from distgan.evaluate.measures import WANT_TRAINING
from distgan.evaluate.settings import EvaluateSettings
from distgan.features.base import Extractor
from distgan.parallel import World
from distgan.storage import Storage

_MOST_TRAINING, _MOST_HELD_OUT = 60_000, 5_000


class Reals:
    """A set of images as the source of what generated ones are compared with."""

    def __init__(self, images: ImageSet, settings: EvaluateSettings) -> None:
        self._images = images
        self.count = min(settings.num, images.count)
        self.checksum = _checksum(images)
        self._wants_training = bool(WANT_TRAINING & set(settings.metrics))
        self._held_out = _validation_of(images) if self._wants_training else None
        self.held_out = min(self._held_out.count, _MOST_HELD_OUT) if self._held_out else 0

    def see(self, extractor: Extractor, world: World) -> Evidence:
        """What an extractor sees in them, from the cache where it is kept; all ranks must call it.

        Raises:
            UserError: for a set that cannot be read.
        """
        key = {
            "data": self.checksum,
            "extractor": extractor.hash,
            "count": self.count,
            "training": self._wants_training,
            "held_out": self._held_out and _checksum(self._held_out),
        }
        return cache.recall(key, lambda: self._look(extractor, world), world)

    def _look(self, extractor: Extractor, world: World) -> Evidence:
        pieces = list(_spread(self._images, self.count))
        pixels = torch.cat([_channels_first(piece.images) for piece in pieces])
        labels = None
        if self._images.classes:
            kept = [piece.labels for piece in pieces if piece.labels is not None]
            labels = torch.from_numpy(np.concatenate(kept))
        # A set may lie class by class, and not all that is seen is kept.
        mixed = torch.from_numpy(draws.permutation(0, "reals", 0, len(pixels)))
        pixels, labels = pixels[mixed], None if labels is None else labels[mixed]
        found = gather(
            lambda numbers: pixels[numbers.start : numbers.stop].to(world.device),
            len(pixels),
            extractor,
            world,
            labels,
        )
        if not self._wants_training:
            return found
        training = features_of(_blocks(self._images, _MOST_TRAINING), extractor, world)
        held_out = None
        if self._held_out is not None:
            held_out = features_of(_blocks(self._held_out, _MOST_HELD_OUT), extractor, world)
        return Evidence(
            found.folds,
            found.features,
            found.probabilities,
            found.counts,
            found.pixels,
            found.labels,
            training,
            held_out,
        )


def _spread(images: ImageSet, num: int) -> Iterator[Pixels]:
    """``num`` images, evenly from the whole set, piece by piece."""
    wanted = np.arange(num) * images.count // num
    first = 0
    for piece in read_in_order(images, whole_set(images), replace=True):
        stop = first + len(piece.images)
        here = wanted[(wanted >= first) & (wanted < stop)] - first
        labels = None if piece.labels is None else piece.labels[here]
        yield Pixels(piece.images[here], labels, piece.replaced[here])
        first = stop


def _blocks(images: ImageSet, most: int) -> Iterator[Tensor]:
    """Up to ``most`` images, evenly from the whole set: uint8 (`BLOCK`, c, h, w) at a time."""
    left = torch.empty(0)
    for piece in _spread(images, min(most, images.count)):
        found = _channels_first(piece.images)
        left = torch.cat([left, found]) if len(left) else found
        while len(left) >= BLOCK:
            yield left[:BLOCK]
            left = left[BLOCK:]
    if len(left):
        yield left


def _channels_first(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _validation_of(images: ImageSet) -> ImageSet | None:
    storage = Storage(images.uri).child(VALIDATION)
    return open_images(storage.anywhere()) if manifest.read(storage) is not None else None


def _checksum(images: ImageSet) -> str:
    """Of a set's content: from its manifest, else of its files' bytes."""
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
