"""Generated clips beside real ones: how frames look, how they move, whether digits stay digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distgan import draws
from distgan.config.clip import below
from distgan.config.evaluate import EvaluateSettings
from distgan.data.clips.read import read_clips
from distgan.data.clips.view import View
from distgan.data.images import ImageSet
from distgan.errors import UserError
from distgan.evaluate import cache
from distgan.evaluate.extraction import BLOCK, MOST_FEATURES, in_8_bits
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.evaluate.labels import by_shares, counts_of
from distgan.evaluate.measures import MEASURES, Value, interval, mean_over_images
from distgan.evaluate.needs import NEEDS
from distgan.evaluate.reals import checksum_of
from distgan.evaluate.rows import CLIPS_STREAM, ShownSet, shown_set
from distgan.families.clip_family import ClipFamily
from distgan.features import load
from distgan.features.base import Extractor
from distgan.features.motion import motion_extractor
from distgan.features.moving_digits import digits_of, keep
from distgan.metrics import motion
from distgan.metrics.moments import Moments
from distgan.metrics.names import CLIP_METRICS
from distgan.parallel import World

WANT_FEATURES = {"frame-frechet"}
"""Metrics that need an extractor of frames."""
MOST_READ = 1_000
"""Clips whose digits are read, the first ones: every frame goes through the classifier."""
_BLOCK_BYTES = 1 << 24
"""Of the clips that are at hand at a time: 1,024 frames of 128x128."""


def check(settings: EvaluateSettings, family: ClipFamily, images: ImageSet) -> None:
    """See that clips can be measured, as far as is known without an extractor.

    Raises:
        UserError: for too many clips, too few or too short real ones, and those without digits.
    """
    if settings.num > MOST_FEATURES:
        raise UserError(
            f"--evaluate.num {settings.num}: clips are measured by up to {MOST_FEATURES:,}; use "
            f"--evaluate.num {MOST_FEATURES} or fewer"
        )
    if "digits-kept" in settings.metrics and not digits_of(images):
        raise UserError(
            "--evaluate.metrics digits-kept: the labels of these clips do not say which digits are "
            "seen; it is for moving-mnist, moving-mnist-small and sets with their labels; leave it "
            "out"
        )
    count = real_clips(images, settings, family).images.count
    for metric in settings.metrics:
        if metric in NEEDS and count < NEEDS[metric].real:
            raise UserError(
                f"--evaluate.metrics {metric}: needs at least {NEEDS[metric].real} real clips, and "
                f"there is {count}; leave it out, or use a larger set"
            )


def real_clips(images: ImageSet, settings: EvaluateSettings, family: ClipFamily) -> ShownSet:
    """The set that real clips come from: held-out ones where there are such.

    Raises:
        UserError: for held-out clips that cannot be read, are of another kind or too short.
    """
    shown = shown_set(images, settings, bool(family.labels or digits_of(images)))
    needed, clips = family.shown_rule.shortest, shown.images.clips
    option = f"--evaluate.held_out {settings.held_out or shown.images.uri}"
    if clips is None:
        raise UserError(f"{option}: holds images, and the run makes clips; name a set of clips")
    if clips.shortest < needed:
        raise UserError(
            f"{option}: needs clips of at least {needed} frames, and the shortest has "
            f"{clips.shortest}; make it with `distgan data prepare --frames {needed}`"
        )
    return shown


class MeasuredClips:
    """Clips that a generator is measured by, and the real ones that they are compared with.

    All ranks must construct it and call it alike. They share the blocks; what is found of a clip
    depends on no other block. Generated clips are rounded to 8 bits, as real ones are.

    Args:
        extractor: of frames, for the metrics in `WANT_FEATURES`.

    Raises:
        UserError: for a set that cannot be read.
    """

    def __init__(
        self,
        images: ImageSet,
        settings: EvaluateSettings,
        family: ClipFamily,
        world: World,
        extractor: Extractor | None,
    ) -> None:
        self._settings, self._family, self._world = settings, family, world
        self._wanted = [name for name in settings.metrics if name in CLIP_METRICS]
        self._shown = real_clips(images, settings, family)
        self._view = View(family.shown_rule, settings.seed, CLIPS_STREAM)
        self.real_count = min(settings.num, self._shown.images.count)
        self._digits = digits_of(images)
        self._frames = extractor if WANT_FEATURES & set(self._wanted) else None
        self._motion = self._classifier = None
        if "clip-frechet" in self._wanted:
            self._motion = motion_extractor().to(world.device)
        if "digits-kept" in self._wanted:
            self._classifier = load("mnist").to(world.device)
        shape = images.shape
        each = shape.channels * shape.height * shape.width * family.shown_rule.frames
        self._block = max(1, min(BLOCK, _BLOCK_BYTES // each))
        self._checksum = checksum_of(self._shown.images, world)
        self._labels, self._shares = None, ""
        if family.labels:
            counts = counts_of(images, world)
            self._labels = by_shares(counts, settings.num)
            self._shares = "" if len(set(counts)) == 1 else "by the data's shares"
        self._real = cache.tensors(self._key, self._found_of_reals, world)

    @property
    def card_fields(self) -> dict[str, Any]:
        """Those of `Card` that say which clips were measured, and how."""
        rule = self._family.shown_rule
        found: dict[str, Any] = {
            "split": self._shown.split,
            "real": self.real_count,
            "fake": self._settings.num,
            "labels": self._shares,
            "clip_frames": rule.frames,
            "clip_stride": rule.stride,
            "clip_start": "real clips: drawn by seed and clip, of all that fit",
            "clip_checksum": self._checksum,
        }
        if rule.span:
            found["clip_stride"] = 0
            found["clip_start"] += f"; sparse, over up to {rule.span}"
        biased = [name for name in self._wanted if name.endswith("frechet")]
        if biased:
            found["bias"] = f"{', '.join(biased)}: the fewer clips, the larger"
        if self._frames is not None:
            found["clip_frame"] = "one of each clip, drawn by seed and clip"
        if self._motion is not None:
            found["motion"] = self._motion.name
            found["motion_hash"] = self._motion.hash
            found["motion_resize"] = self._motion.preprocessing
        if self._classifier is not None:
            name, mark = self._classifier.name, self._classifier.hash
            found["digits"] = f"{name} {mark}, first {MOST_READ:,} clips"
        return found

    def measure(self, networks: Mapping[str, nn.Module]) -> dict[str, dict[str, Value]]:
        """The values by metric and name; all ranks must call it.

        Args:
            networks: by role, in eval mode.
        """

        def made(numbers: range) -> Tensor:
            labels = None if self._labels is None else self._labels[numbers.start : numbers.stop]
            seed = self._settings.seed
            return in_8_bits(self._family.clips(networks, seed, "evaluate", numbers, labels=labels))

        found = self._found(made, self._settings.num)
        return {name: self._values(name, found) for name in self._wanted}

    def _values(self, metric: str, fake: Mapping[str, Tensor]) -> dict[str, Value]:
        real = self._real
        if metric == "motion":
            values = _of_numbers("difference-distance", "frame-difference", real, fake)
            if self._digits:
                values |= _of_numbers("speed-distance", "speed", real, fake)
            return values
        if metric == "digits-kept":
            return {
                f"{metric}{which}": _share(side[metric])
                for which, side in (("", fake), ("-of-real", real))
            }
        sides = _statistics(real[metric]), _statistics(fake[metric], self._labels)
        return {metric: MEASURES["frechet"](*sides, self._settings.seed)["frechet"]}

    @property
    def _key(self) -> dict[str, Any]:
        """Everything that what is found of real clips depends on."""
        extractors = (self._frames, self._motion, self._classifier)
        return {
            "clips": self._checksum,
            "rule": asdict(self._view.rule),
            "seed": self._view.seed,
            "count": self.real_count,
            "metrics": sorted(self._wanted),
            "extractors": [each and each.hash for each in extractors],
            "digits": self._digits,
        }

    def _found_of_reals(self) -> dict[str, Tensor]:
        # In ascending order, so that a block lies in few row groups; evenly over the set.
        every = np.arange(self.real_count, dtype=np.int64)
        numbers = every * self._shown.images.count // self.real_count

        def block(places: range) -> Tensor:
            here = numbers[places.start : places.stop]
            return read_clips(self._shown.images, here, self._view)[0]

        return self._found(block, self.real_count)

    @torch.no_grad()
    def _found(self, clips: Callable[[range], Tensor], count: int) -> dict[str, Tensor]:
        """By name what is found of each clip, a row for each; all ranks must call it.

        Args:
            clips: maps places among ``count`` to uint8 (n, frames, c, h, w).
        """
        mine = []
        for number in range(self._world.rank, -(-count // self._block), self._world.size):
            places = range(number * self._block, min(count, (number + 1) * self._block))
            block = clips(places).to(self._world.device)
            rows = {name: each.cpu() for name, each in self._of_block(block, places).items()}
            mine.append((number, rows))
        parts = [part for rank in self._world.gather(mine) for part in rank]
        blocks = [rows for _, rows in sorted(parts, key=lambda part: part[0])]
        return {
            name: torch.cat([rows[name] for rows in blocks if name in rows]) for name in blocks[0]
        }

    def _of_block(self, clips: Tensor, places: range) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        if self._frames is not None:
            chosen = draws.uniforms(self._settings.seed, "evaluate-frame", [places], 1)
            at = torch.from_numpy(below(chosen[:, 0], clips.shape[1])).to(clips.device)
            rows = torch.arange(len(clips), device=clips.device)
            found["frame-frechet"] = self._frames(clips[rows, at]).features
        if self._motion is not None:
            found["clip-frechet"] = self._motion(clips).features
        if "motion" in self._wanted:
            found["frame-difference"] = motion.frame_differences(clips)
            if self._digits:
                found["speed"] = motion.speeds(clips)
        if self._classifier is not None and places.start < MOST_READ:
            read = clips[: MOST_READ - places.start]
            found["digits-kept"] = keep(read, self._digits, self._classifier)
        return found


def _of_numbers(
    distance: str, name: str, real: Mapping[str, Tensor], fake: Mapping[str, Tensor]
) -> dict[str, Value]:
    """The distance of two sides' numbers, (n, frames - 1), and the means of both."""
    one, other = real[name], fake[name]
    apart = motion.wasserstein(one.flatten(), other.flatten())
    return {
        distance: interval(apart, motion.wasserstein_spread(one, other)),
        name: mean_over_images(other.mean(1)),
        f"{name}-of-real": mean_over_images(one.mean(1)),
    }


def _share(rows: Tensor) -> Value:
    found = mean_over_images(rows)
    if found.low is None or found.high is None:
        return found
    return found._replace(low=max(found.low, 0.0), high=min(found.high, 1.0))


def _statistics(features: Tensor, labels: Tensor | None = None) -> FeatureStatistics:
    none = torch.empty(0, dtype=torch.uint8)
    return FeatureStatistics(Moments.of(features), features, None, None, none, labels)
