"""One evaluation of a generator: fakes, reals, values, card."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distgan import draws
from distgan.data import manifest
from distgan.data.fragments import read_in_order, whole_set
from distgan.data.images import ImageSet
from distgan.evaluate.card import Card
from distgan.evaluate.gather import gather
from distgan.evaluate.measures import MEASURES, Value
from distgan.evaluate.settings import EvaluateSettings
from distgan.features import EXTRACTORS, resolve
from distgan.parallel import World
from distgan.storage import Storage

LOG = "evaluations.jsonl"
"""In a run's folder: a line for every evaluation."""


@dataclass(frozen=True)
class Evaluation:
    """The values of a generator after so many images."""

    images: int
    seconds: float
    """How long it took, on the slowest rank."""
    card: Card
    values: dict[str, Value]

    def to_dict(self) -> dict[str, Any]:
        """For `LOG`."""
        return {
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "card": self.card.to_dict(),
            "values": {name: value._asdict() for name, value in self.values.items()},
        }


class Evaluator:
    """Measures generators against one set of images; all ranks must make and call it alike.

    Args:
        settings: what to measure.
        data: the name or place of the set, for the card.
        latent: length of the generator's z.
        classes: labels of a conditional generator, which fakes cycle through, or 0.

    Raises:
        UserError: when there is no such extractor.
    """

    def __init__(
        self,
        settings: EvaluateSettings,
        images: ImageSet,
        data: str,
        latent: int,
        classes: int,
        world: World,
    ) -> None:
        self._settings, self._world = settings, world
        self._latent, self._classes = latent, classes
        self._extractor = EXTRACTORS[resolve(settings.features, images.shape)]().to(world.device)
        pixels = _spread(images, min(settings.num, images.count))
        self._real = gather(
            lambda numbers: pixels[numbers.start : numbers.stop].to(world.device),
            len(pixels),
            self._extractor,
            world,
        )
        self._card = Card(
            extractor=self._extractor.name,
            extractor_hash=self._extractor.hash,
            resize=self._extractor.preprocessing,
            quantised=True,
            data=data,
            data_checksum=_checksum(images),
            split="train",
            real=len(pixels),
            fake=settings.num,
            weights=settings.weights,
            seed=settings.seed,
        )

    def evaluate(self, generator: nn.Module, images_seen: int) -> Evaluation:
        """Measure a generator, which is in eval mode and on the world's device."""
        start = time.perf_counter()
        fake = gather(
            lambda numbers: self._fakes(generator, numbers),
            self._settings.num,
            self._extractor,
            self._world,
        )
        values: dict[str, Value] = {}
        for name in self._settings.metrics:
            values |= MEASURES[name](self._real, fake, self._settings.seed)
        return Evaluation(images_seen, time.perf_counter() - start, self._card, values)

    @torch.no_grad()
    def _fakes(self, generator: nn.Module, numbers: range) -> Tensor:
        like = next(generator.parameters())
        z = torch.from_numpy(
            draws.normals(self._settings.seed, "evaluate", [numbers], self._latent)
        )
        labels = torch.arange(numbers.start, numbers.stop) % max(1, self._classes)
        made: Tensor = generator(z.to(like), labels.to(like.device) if self._classes else None)
        # As they would be stored: real images come in 8 bits too.
        return (made.float() + 1).mul_(127.5).round_().clamp_(0, 255).byte()


def _spread(images: ImageSet, num: int) -> Tensor:
    """``num`` images, evenly from the whole set: uint8 (num, c, h, w)."""
    wanted = torch.arange(num) * images.count // num
    kept: list[Tensor] = []
    first = 0
    for piece in read_in_order(images, whole_set(images), replace=True):
        stop = first + len(piece.images)
        here = wanted[(wanted >= first) & (wanted < stop)] - first
        kept.append(torch.from_numpy(piece.images[here.numpy()]))
        first = stop
    return torch.cat(kept).permute(0, 3, 1, 2).contiguous()


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


def remember(storage: Storage, evaluation: Evaluation) -> None:
    """Add an evaluation to a run's folder, in the place of an equal one."""
    known = [e for e in read(storage) if not _same(e, evaluation)]
    lines = [json.dumps(e) for e in [*known, evaluation.to_dict()]]
    storage.write(LOG, "\n".join(lines) + "\n")


def _same(entry: dict[str, Any], evaluation: Evaluation) -> bool:
    return bool(
        entry["images"] == evaluation.images and entry["card"]["key"] == evaluation.card.key
    ) and set(entry["values"]) <= set(evaluation.values)


def read(storage: Storage) -> list[dict[str, Any]]:
    """All evaluations of a run, in the order in which they were made."""
    if not storage.exists(LOG):
        return []
    return [json.loads(line) for line in storage.read_text(LOG).splitlines()]
