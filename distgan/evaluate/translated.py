"""Held-out images through a translation: how near outputs come to what they should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distgan.config.evaluate import EvaluateSettings
from distgan.data.images import ImageSet
from distgan.errors import UserError
from distgan.evaluate import cache
from distgan.evaluate.extraction import BLOCK, among_own, extract_all_ranks, in_8_bits, own_places
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.evaluate.measures import MEASURES, WANT_PIXELS, Value, mean_over_images
from distgan.evaluate.needs import NEEDS
from distgan.evaluate.reals import StoredRows, checksum_of, mixed
from distgan.evaluate.rows import ShownSet, named, shown_sets
from distgan.families import Batch
from distgan.families.tasks import as_output
from distgan.families.translation import Translation
from distgan.features import resolve
from distgan.features.base import Extractor, without_tf32
from distgan.features.classifier import CLASSES
from distgan.metrics import paired
from distgan.metrics.names import TRANSLATION_METRICS
from distgan.parallel import World

WANT_FEATURES = {"feature-distance", "label-score"}
"""Metrics that need an extractor."""
_OF_PIXELS = {"l1": paired.l1, "psnr": paired.psnr, "ssim": paired.ssim}


class ShownSides(NamedTuple):
    """The set whose images are translated, and the set of the images that they should resemble."""

    inputs: ShownSet
    targets: ShownSet


def sides_of(
    images: ImageSet, other: ImageSet | None, settings: EvaluateSettings, family: Translation
) -> ShownSides:
    """The sets of both sides, which are one set unless the run learns from two.

    Raises:
        UserError: for a set of held-out images that cannot be read or is of another kind.
    """
    own, second = shown_sets(images, other, settings, family)
    second = second or own
    return ShownSides(second, own) if family.config.direction == "BtoA" else ShownSides(own, second)


def seen_by_extractors(images: ImageSet, other: ImageSet | None, family: Translation) -> ImageSet:
    """A set with the images of the side of outputs, as `distgan.features.resolve` takes it."""
    own = other is None or family.config.direction == "BtoA"
    side = images if own or other is None else other
    return replace(side, shape=family.output_shape)


def check(
    settings: EvaluateSettings, family: Translation, images: ImageSet, other: ImageSet | None
) -> None:
    """See that a translation can be measured, as far as is known without an extractor.

    Raises:
        UserError: for images that are too small, too few or without labels, and for an extractor
            that does not classify them.
    """
    shape = family.output_shape
    if "ssim" in settings.metrics and min(shape.height, shape.width) < paired.WINDOW:
        raise UserError(
            f"--evaluate.metrics ssim: its windows are {paired.WINDOW}x{paired.WINDOW} pixels, "
            f"and images are {shape.height}x{shape.width}; measure psnr"
        )
    sides = sides_of(images, other, settings, family)
    for metric in settings.metrics:
        need = NEEDS.get(metric)
        if need is None:
            continue
        for side, wanted in ((sides.inputs, need.fake), (sides.targets, need.real)):
            if min(settings.num, side.images.count) < wanted:
                raise UserError(
                    f"--evaluate.metrics {metric}: needs at least {wanted} images of each side, "
                    f"and there are {min(settings.num, side.images.count)}; leave it out, give a "
                    "larger --evaluate.num, or hold out more with `distgan data prepare "
                    "--validation`"
                )
    if "label-score" in settings.metrics:
        name = resolve(settings.features, seen_by_extractors(images, other, family))
        _check_classes(name, sides.inputs.images)


def _check_classes(name: str, inputs: ImageSet) -> None:
    if not inputs.classes:
        raise UserError(
            "--evaluate.metrics label-score: the images that are translated have no labels; leave "
            "it out, or use a set with a label column"
        )
    if CLASSES.get(name) != inputs.classes:
        fit = [known for known, classes in CLASSES.items() if classes == inputs.classes]
        remedy = f"use --evaluate.features {fit[0]}" if fit else "leave it out"
        raise UserError(
            f"--evaluate.metrics label-score: {name} does not tell the classes of the images "
            f"that are translated; {remedy}"
        )


class TranslatedImages:
    """Images that a translation is measured by: held-out ones where the sets have them.

    All ranks must construct it and call it alike. They share the blocks; what an image gives
    depends on no other block. Outputs, and what they are compared with, are rounded to 8 bits.

    Args:
        other: the run's second set, where it has one.

    Raises:
        UserError: for sets that cannot be read.
    """

    def __init__(
        self,
        images: ImageSet,
        other: ImageSet | None,
        settings: EvaluateSettings,
        family: Translation,
        world: World,
    ) -> None:
        self._settings, self._family, self._world = settings, family, world
        self._sides = sides_of(images, other, settings, family)
        self.count, self.real_count = (min(settings.num, side.images.count) for side in self._sides)
        self._checksum, self._real_checksum = (
            checksum_of(side.images, world) for side in self._sides
        )
        self._wanted = set(settings.metrics) & set(TRANSLATION_METRICS)

    @property
    def card_fields(self) -> dict[str, Any]:
        """Those of `Card` that say which images were translated."""
        task = self._family.task
        if task == "small":
            task = f"small, 1/{self._family.scale}"
        return {
            "translated": self.count,
            "translated_split": self._sides.inputs.split,
            "translated_checksum": self._checksum,
            "direction": self._family.config.direction,
            "task": task,
        }

    @property
    def real_split(self) -> str:
        """Where the images of the side of outputs come from: see `ShownSet`."""
        return self._sides.targets.split

    def features_of_reals(self, extractor: Extractor) -> FeatureStatistics:
        """Of the images of the side of outputs, cached if possible; all ranks must call it.

        Raises:
            UserError: for a set that cannot be read.
        """
        key = {
            "data": self._real_checksum,
            "extractor": extractor.hash,
            "count": self.real_count,
            "side": [self.card_fields["task"], self._family.config.direction],
            # A set of pairs may also be the second set of a run that does not look at them.
            "pairs": self._family.paired,
        }
        return cache.load_or_compute(key, lambda: self._extract(extractor), self._world)

    def _extract(self, extractor: Extractor) -> FeatureStatistics:
        rows = self._own_rows(self._sides.targets, self.real_count)

        def block(numbers: range) -> Tensor:
            here = among_own(numbers, self._world)
            return in_8_bits(self._family.reals(self._batch(rows, here, "target")))

        return extract_all_ranks(block, self.real_count, extractor, self._world)

    @torch.no_grad()
    def measure(
        self, networks: Mapping[str, nn.Module], extractor: Extractor | None
    ) -> tuple[dict[str, dict[str, Value]], FeatureStatistics | None]:
        """The values by metric and name, and features of outputs; all ranks must call it.

        Args:
            networks: by role, in eval mode.
            extractor: for the metrics in `WANT_FEATURES`, and for those of features, for which
                there are features then.
        """
        rows = self._own_rows(self._sides.inputs, self.count)
        found: list[tuple[int, dict[str, Tensor]]] = []

        def outputs(numbers: range) -> Tensor:
            here = among_own(numbers, self._world)
            labels = None if rows.labels is None else rows.labels[here].to(self._world.device)
            made, values = self._of_block(
                networks, self._batch(rows, here, "input"), labels, extractor
            )
            found.append((numbers.start, {name: each.cpu() for name, each in values.items()}))
            return made

        made = None
        with without_tf32():
            metrics = set(self._settings.metrics)
            if extractor is not None and metrics & set(MEASURES):
                keep = bool(WANT_PIXELS & metrics)
                made = extract_all_ranks(
                    outputs, self.count, extractor, self._world, keep_pixels=keep
                )
            else:
                for number in range(self._world.rank, -(-self.count // BLOCK), self._world.size):
                    outputs(range(number * BLOCK, min(self.count, (number + 1) * BLOCK)))
        return self._gathered(found), made

    def _gathered(self, mine: list[tuple[int, dict[str, Tensor]]]) -> dict[str, dict[str, Value]]:
        parts = sorted(
            (part for rank in self._world.gather(mine) for part in rank), key=lambda part: part[0]
        )
        values: dict[str, dict[str, Value]] = {metric: {} for metric in self._wanted}
        for name in parts[0][1]:
            metric = "cycle" if name.startswith("cycle-error") else name.partition("-of-")[0]
            rows = torch.cat([its[name] for _, its in parts])
            found = mean_over_images(rows)
            if metric == "label-score" and found.low is not None and found.high is not None:
                # Of a share, which lies between 0 and 1.
                found = found._replace(low=max(found.low, 0.0), high=min(found.high, 1.0))
            values[metric][name] = found
        return values

    def _of_block(
        self,
        networks: Mapping[str, nn.Module],
        batch: Batch,
        labels: Tensor | None,
        extractor: Extractor | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Outputs in 8 bits, and values of each image by name, float64 (n,)."""
        family = self._family
        like = next(networks[family.generators[0]].parameters())
        columns = {name: each.to(like) for name, each in batch.columns.items()}
        inputs, targets = family.example(replace(batch, columns=columns))
        made = family.translate(networks, inputs)
        shown = {"": in_8_bits(made)}
        plain = in_8_bits(as_output(inputs, family.output_shape))
        found: dict[str, Tensor] = {}
        if targets is not None:
            if family.enriches:
                shown["-of-input"] = plain
            found |= self._of_targets(shown, in_8_bits(targets), extractor)
        if "label-score" in self._wanted:
            assert extractor is not None, "see WANT_FEATURES"
            assert labels is not None, "see check"
            judged = {"": shown[""], "-of-input": plain}
            if targets is not None:
                judged["-of-targets"] = in_8_bits(targets)
            for which, images in judged.items():
                found[f"label-score{which}"] = torch.eq(
                    _classes(images, extractor), labels
                ).double()
        if "cycle" in self._wanted:
            found |= _cycle(family, networks, inputs, made)
        return shown[""], found

    def _of_targets(
        self, shown: Mapping[str, Tensor], targets: Tensor, extractor: Extractor | None
    ) -> dict[str, Tensor]:
        found = {}
        for metric in TRANSLATION_METRICS:
            if metric not in self._wanted:
                continue
            for which, images in shown.items():
                if metric in _OF_PIXELS:
                    pixels = images.double() / 255, targets.double() / 255
                    found[f"{metric}{which}"] = _OF_PIXELS[metric](*pixels)
                elif metric == "feature-distance":
                    assert extractor is not None, "see WANT_FEATURES"
                    stages = map(extractor.seen_by_stages, (images, targets))
                    one, other = ([maps.double() for maps in each] for each in stages)
                    found[f"{metric}{which}"] = paired.feature_distance(one, other)
        return found

    def _own_rows(self, side: ShownSet, count: int) -> StoredRows:
        """This rank's, as they are stored."""
        numbers: NDArray[np.int64] = mixed(side.images, count)[own_places(count, self._world)]
        columns = self._family.columns()
        return side.read(numbers, [columns[name] for name in self._family.input_columns])

    def _batch(self, rows: StoredRows, here: slice, side: str) -> Batch:
        """Some rows as the family's columns; of two sets those of one side only."""
        columns = self._family.columns()
        wanted = {name: columns[name] for name in self._family.input_columns}
        if not self._family.knows_targets:
            first = (side == "input") == (self._family.config.direction == "AtoB")
            wanted = {name: each for name, each in wanted.items() if each.second != first}
        pairs = None if rows.pairs is None else rows.pairs[here]
        found = named(StoredRows(rows.images[here], None, pairs), wanted)
        return Batch({name: each.to(self._world.device) for name, each in found.items()}, {})


def _classes(images: Tensor, extractor: Extractor) -> Tensor:
    """int64 (n,)."""
    believed = extractor(images).probabilities
    assert believed is not None, "see check"
    return believed.argmax(1)


def _cycle(
    family: Translation, networks: Mapping[str, nn.Module], inputs: Tensor, made: Tensor
) -> dict[str, Tensor]:
    """The mean absolute error of images translated there and back, pixels in [0, 1]."""
    # What was rounded to 8 bits hides less of the input than what training sees: Chu et al.,
    # "CycleGAN, a Master of Steganography" (2017).
    rounded = (in_8_bits(made).to(made) / 127.5) - 1
    return {
        name: paired.l1(family.translate(networks, each, reverse=True).double(), inputs.double())
        / 2
        for name, each in (("cycle-error", made), ("cycle-error-of-8-bits", rounded))
    }
