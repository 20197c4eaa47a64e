"""One evaluation of a generator: fakes, reals, values, card."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from distgan.config.evaluate import EvaluateSettings
from distgan.data.images import ImageSet
from distgan.errors import UserError
from distgan.evaluate import clips, encoded, translated
from distgan.evaluate.card import Card
from distgan.evaluate.clips import MeasuredClips
from distgan.evaluate.encoded import EncodedImages
from distgan.evaluate.extraction import MOST_FEATURES, extract_all_ranks, in_8_bits
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.evaluate.labels import by_shares, counts_of
from distgan.evaluate.measures import (
    MEASURES,
    WANT_CLASSES,
    WANT_LABELS,
    WANT_PIXELS,
    Value,
    used,
)
from distgan.evaluate.needs import check_counts, check_features
from distgan.evaluate.reals import Reals, checksum_of, held_out_of
from distgan.evaluate.translated import TranslatedImages
from distgan.families import Family
from distgan.families.clip_family import ClipFamily
from distgan.families.translation import Translation
from distgan.features import load, resolve
from distgan.features.base import ARITHMETIC, Extractor
from distgan.metrics.names import AUTOENCODER_METRICS, better, cost
from distgan.parallel import World
from distgan.runs import folder as run
from distgan.storage.ownership import Ownership
from distgan.storage.storage import Storage
from distgan.storage.textfiles import Shape, read_lines

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
        family: what generates; of labels, if it takes any, each comes as often as in the data.
        other: the run's second set, where it has one.

    Raises:
        UserError: when there is no such extractor, or too few images for a metric of its features.
    """

    def __init__(
        self,
        settings: EvaluateSettings,
        images: ImageSet,
        data: str,
        family: Family,
        world: World,
        other: ImageSet | None = None,
    ) -> None:
        self._settings, self._world, self._family = settings, world, family
        check(settings, family, images, other)
        self._extractor = _extractor(settings, _judged(images, other, family), world)
        self._real: FeatureStatistics | None = None
        self._labels: Tensor | None = None
        self._encoded: EncodedImages | None = None
        self._translated: TranslatedImages | None = None
        self._clips: MeasuredClips | None = None
        card = Card(
            extractor="",
            extractor_hash="",
            resize="",
            quantised=True,
            data=data,
            data_checksum=checksum_of(images, world),
            split="",
            real=0,
            held_out=0,
            fake=0,
            weights=settings.weights,
            seed=settings.seed,
            arithmetic=f"{ARITHMETIC}, {world.device.type}",
        )
        extractor = self._extractor
        if extractor is not None:
            card = replace(
                card,
                extractor=extractor.name,
                extractor_hash=extractor.hash,
                resize=extractor.preprocessing,
            )
        if isinstance(family, Translation):
            self._translated = TranslatedImages(images, other, settings, family, world)
            card = replace(card, **self._translated.card_fields)
        if isinstance(family, ClipFamily):
            self._clips = MeasuredClips(images, settings, family, world, extractor)
            card = replace(card, **self._clips.card_fields)
        if extractor is not None and set(settings.metrics) & set(MEASURES):
            if self._translated is not None:
                found = self._target_side(self._translated, extractor)
            else:
                found = self._training_images(images, extractor)
            card = replace(card, **found, bias=_bias(settings.metrics))
        if set(settings.metrics) & set(AUTOENCODER_METRICS):
            self._encoded = EncodedImages(images, settings, bool(family.labels), world)
            card = replace(card, **self._encoded.card_fields)
        self._card = card

    def _training_images(self, images: ImageSet, extractor: Extractor) -> dict[str, Any]:
        """Read what generated images are compared with; returns what the card says of it."""
        settings, world = self._settings, self._world
        check_features(settings, extractor.size, images.count)
        reals = Reals(images, settings, world)
        self._real = reals.features(extractor, world)
        counts = counts_of(images, world) if self._family.labels else None
        if counts is not None:
            self._labels = by_shares(counts, settings.num)
        _check_classes(settings, self._real.labels, self._labels)
        return {
            "split": "train",
            "real": reals.count,
            "held_out": reals.held_out,
            "fake": settings.num,
            "labels": "" if counts is None or len(set(counts)) == 1 else "by the data's shares",
        }

    def _target_side(self, images: TranslatedImages, extractor: Extractor) -> dict[str, Any]:
        """As `_training_images`, of images that are translated."""
        check_features(self._settings, extractor.size, min(images.count, images.real_count))
        self._real = images.features_of_reals(extractor)
        return {"split": images.real_split, "real": images.real_count, "fake": images.count}

    def evaluate(self, networks: Mapping[str, nn.Module], images_seen: int) -> Evaluation:
        """Measure networks by role, which are in eval mode and on the world's device."""
        start = time.perf_counter()
        found: dict[str, dict[str, Value]] = {}
        card, fake = self._card, None
        if self._clips is not None:
            found = self._clips.measure(networks)
        elif self._translated is not None:
            found, fake = self._translated.measure(networks, self._extractor)
        elif self._real is not None:
            fake = self._features_of_fakes(networks)
        if self._real is not None and fake is not None:
            names = [name for name in self._settings.metrics if name in MEASURES]
            found |= self._shared_out(names, self._real, fake)
            card = replace(card, used=used(names, self._real, fake))
        model = self._family.autoencoder(networks)
        if self._encoded is not None and model is not None:
            found |= self._encoded.measure(model, self._extractor)
            card = replace(card, likelihood=model.title)
        values: dict[str, Value] = {}
        # In the order in which they were asked for: the first decides which checkpoint is best.
        for name in self._settings.metrics:
            _check_finite(name, found[name])
            values |= found[name]
        return Evaluation(images_seen, time.perf_counter() - start, card, values)

    def _shared_out(
        self, names: Sequence[str], real: FeatureStatistics, fake: FeatureStatistics
    ) -> dict[str, dict[str, Value]]:
        """The values of metrics, each found by one rank and told to the others."""
        world, seed = self._world, self._settings.seed
        mine = {name: MEASURES[name](real, fake, seed) for name in names[world.rank :: world.size]}
        # With patience: some metrics take far longer than others.
        told = {name: values for part in world.gather(mine) for name, values in part.items()}
        return {name: told[name] for name in names}

    def _features_of_fakes(self, networks: Mapping[str, nn.Module]) -> FeatureStatistics:
        assert self._extractor is not None, "see _extractor"
        return extract_all_ranks(
            lambda numbers: self._fakes(networks, numbers),
            self._settings.num,
            self._extractor,
            self._world,
            self._labels,
            keep_pixels=bool(WANT_PIXELS & set(self._settings.metrics)),
        )

    @torch.no_grad()
    def _fakes(self, networks: Mapping[str, nn.Module], numbers: range) -> Tensor:
        family, seed = self._family, self._settings.seed
        labels = None if self._labels is None else self._labels[numbers.start : numbers.stop]
        batch = family.generation_batch(networks, seed, "evaluate", numbers, labels)
        made = family.images(networks, batch, seed, "evaluate")
        return in_8_bits(made)


def check(
    settings: EvaluateSettings, family: Family, images: ImageSet, other: ImageSet | None = None
) -> None:
    """See that every metric can be had, as far as is known without an extractor.

    Args:
        family: what is to be measured.
        other: the run's second set, where it has one.

    Raises:
        UserError: for a metric that the family does not have or that wants labels which it does
            not take, of more images than there are, or an extractor that is not here.
    """
    for metric in settings.metrics:
        if lack := family.lacks(metric):
            raise UserError(f"--evaluate.metrics {metric}: {lack}")
        if metric in WANT_LABELS and not family.labels:
            raise UserError(
                f"--evaluate.metrics {metric}: the generator takes no labels; leave it out, or "
                "train with --conditional true"
            )
    if isinstance(family, Translation):
        translated.check(settings, family, images, other)
    elif isinstance(family, ClipFamily):
        clips.check(settings, family, images)
    else:
        check_counts(settings, images.count, family.labels)
        held_out_of(images, settings, bool(family.labels))
    if wants_extractor(settings):
        resolve(settings.features, _judged(images, other, family))


def wants_extractor(settings: EvaluateSettings) -> bool:
    """Whether any metric is one of features."""
    wanting = MEASURES.keys() | encoded.WANT_FEATURES | translated.WANT_FEATURES
    return bool(set(settings.metrics) & (wanting | clips.WANT_FEATURES))


def _judged(images: ImageSet, other: ImageSet | None, family: Family) -> ImageSet:
    """A set with images of the kind that are generated."""
    if isinstance(family, Translation):
        return translated.seen_by_extractors(images, other, family)
    return images


def _extractor(settings: EvaluateSettings, images: ImageSet, world: World) -> Extractor | None:
    if not wants_extractor(settings):
        return None
    name = resolve(settings.features, images)
    found = load(name).to(world.device)
    for metric in WANT_CLASSES & set(settings.metrics):
        if not found.classes:
            raise UserError(
                f"--evaluate.metrics {metric}: {name} is no classifier; name another "
                "by --evaluate.features"
            )
    return found


def _check_classes(settings: EvaluateSettings, real: Tensor | None, fake: Tensor | None) -> None:
    if "intra-class" not in settings.metrics or real is None or fake is None:
        return
    most = min(MOST_FEATURES, len(fake))
    classes = 1 + max(int(real.max()), int(fake[:most].max()))
    fewest = torch.minimum(*(torch.bincount(x, minlength=classes) for x in (real, fake[:most])))
    if fewest.max() < 2:
        raise UserError(
            "--evaluate.metrics intra-class: no class has two real and two generated images; "
            "leave it out, or give a larger --evaluate.num"
        )


_BIASED = ("frechet", "intra-class", "reconstruction-frechet")


def _bias(metrics: Sequence[str]) -> str:
    """What the card says of values that depend on the number of images."""
    biased = [name for name in metrics if name in _BIASED]
    if not biased:
        return ""
    return f"{', '.join(biased)}: the fewer images, the larger; frechet-infinity is without"


def _check_finite(metric: str, found: dict[str, Value]) -> None:
    for name, value in found.items():
        if not math.isfinite(value.value):
            raise UserError(
                f"--evaluate.metrics {metric}: {name} is no number for these images, as when most "
                "of the real ones are copies of each other; leave it out, or look at the set"
            )


def remember(storage: Storage, evaluation: Evaluation) -> list[dict[str, Any]]:
    """Add an evaluation to a run's folder, in the place of an equal one.

    Returns:
        all evaluations of the run, as `read` gives them.

    Raises:
        UserError: when the run is no longer there, or another process goes on writing to the file.
    """
    # A folder that was moved meanwhile is not to be made anew.
    run.require(storage, "RUN")
    # A run that evaluates itself may be evaluated by others meanwhile.
    with Ownership(storage, "writing of evaluations", "RUN", file=f".{LOG}.lock", wait=60):
        run.require(storage, "RUN")
        known = [e for e in read(storage) if not _same(e, evaluation)]
        entries = [*known, evaluation.to_dict()]
        storage.write(LOG, "\n".join(map(json.dumps, entries)) + "\n")
        return entries


def standing(entries: Sequence[dict[str, Any]], evaluation: Evaluation) -> dict[str, Any]:
    """The values of an evaluation beside the best so far of the same run and card.

    Args:
        entries: evaluations of the run, as `read` gives them; those after more images, from
            before a rollback, do not count.

    Returns:
        ``images``, and ``values``: by name ``value``, and where lower or higher values are
        better also ``best`` and the images ``best_at`` which it was first measured.
    """
    before = [
        entry
        for entry in entries
        if entry["card"]["key"] == evaluation.card.key and entry["images"] <= evaluation.images
    ]
    values: dict[str, dict[str, float]] = {}
    for name, found in evaluation.values.items():
        values[name] = {"value": found.value}
        known = [
            (cost(name, entry["values"][name]["value"]), entry["images"])
            for entry in before
            if (entry["values"].get(name) or {}).get("value") is not None
        ]
        if better(name):
            least, at = min([*known, (cost(name, found.value), evaluation.images)])
            values[name] |= {"best": cost(name, least), "best_at": at}
    return {"images": evaluation.images, "values": values}


def _same(entry: dict[str, Any], evaluation: Evaluation) -> bool:
    return bool(
        entry["images"] == evaluation.images and entry["card"]["key"] == evaluation.card.key
    ) and set(entry["values"]) <= set(evaluation.values)


def read(storage: Storage) -> list[dict[str, Any]]:
    """All evaluations of a run, in the order in which they were made.

    Raises:
        UserError: for a file that is damaged.
    """
    remedy = "delete the line, and evaluate again"
    return read_lines(storage, LOG, _Entry, remedy)


class _Card(Shape):
    key: str


class _Value(Shape):
    value: float | None
    low: float | None = None
    high: float | None = None


class _Entry(Shape):
    images: int
    card: _Card
    values: dict[str, _Value]
