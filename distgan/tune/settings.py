"""How a search goes: what it measures, how many trials it makes, and when it ends them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from distgan.config.run import RunConfig
from distgan.config.settings import SETTINGS, Count, PositiveCount, nearest, override
from distgan.errors import UserError
from distgan.metrics.names import (
    NAMES,
    THROUGH_INCEPTION,
    VALUES,
    better,
    metric_of,
    values_of,
)

_MOST_IMAGES = 10**13
_MOST_GENERATED = 1_000_000
_MOST_TIMES = 1_000
_MOST_AT_ONCE = 100_000
_MOST_MINUTES = 5_256_000.0
"""What nobody means: images of a trial, and of a measurement; times that something is done
again; processes at a time; ten years."""

_WORST = 1e30

MOST_SAMPLES = 100_000
"""Trials of a search; confirmations are numbered from here."""


def _known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"no such metric{nearest(name, list(NAMES))}; have {', '.join(NAMES)}")
    if name not in VALUES and name not in THROUGH_INCEPTION:
        values = ", ".join(values_of(name))
        remedy = f"name one of {values}" if values else "none of them is better high or low"
        raise ValueError(f"has several values, and a search goes by one; {remedy}")
    return name


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TuneSettings:
    """A search, whose space is given beside it."""

    metric: Annotated[str, AfterValidator(_known)] = "frechet"
    """Of the trained generators; fid and kid are frechet and kernel through Inception."""
    samples: Annotated[int, Field(ge=2, le=MOST_SAMPLES)] = 12
    """Trials; the first is the recipe as it is. For pbt, the members of the population."""
    scheduler: Literal["asha", "pbt", "median", "none"] = "asha"
    """What ends bad trials early: successive halving (asha), the median of the others, nothing;
    pbt instead has them go on from the better ones' state with changed settings."""
    search: Literal["random", "grid", "optuna"] = "random"
    """How points are chosen: at random, on a grid, or by Optuna's TPE."""
    max_images: Annotated[Count, Field(le=_MOST_IMAGES)] = 0
    """Images that a whole trial sees; 0: the recipe's."""
    rung: Annotated[Count, Field(le=_MOST_IMAGES)] = 0
    """Images between measurements, and before a trial may be ended; 0: a ninth of a trial."""
    reduction: Annotated[int, Field(ge=2, le=16)] = 3
    """asha lets one in so many go on, and makes each rung so many times as long."""
    num: Annotated[PositiveCount, Field(ge=10, le=_MOST_GENERATED)] = 5_000
    """Generated images in the last measurement of a trial."""
    rung_num: Annotated[PositiveCount, Field(ge=10, le=_MOST_GENERATED)] = 2_000
    """Generated images in those before it."""
    features: str = "auto"
    """What sees the images, as --evaluate.features."""
    concurrent: Annotated[NonNegativeInt, Field(le=_MOST_AT_ONCE)] = 0
    """Trials at a time; 0: as many as there are processors or GPUs for."""
    workers_per_trial: Annotated[NonNegativeInt, Field(le=_MOST_AT_ONCE)] = 0
    """Data-parallel workers of each trial; 0: it trains in a process of its own, which for a
    single GPU or processor is the same and starts sooner."""
    time_limit: Annotated[NonNegativeFloat, Field(le=_MOST_MINUTES)] = 0.0
    """Minutes after which the search stops, to be resumed; 0: none."""
    confirm: Annotated[NonNegativeInt, Field(le=_MOST_TIMES)] = 0
    """Fresh seeds with which the best trials and the recipe are trained again, and compared."""
    confirm_top: Annotated[PositiveInt, Field(le=_MOST_TIMES)] = 1
    """How many of the best are confirmed."""
    retries: Annotated[NonNegativeInt, Field(le=_MOST_TIMES)] = 3
    """Times that a trial whose process dies goes on from its checkpoint."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Decides the points."""

    @property
    def value(self) -> str:
        """The name of the objective in an evaluation."""
        return THROUGH_INCEPTION.get(self.metric, self.metric)

    @property
    def lower_is_better(self) -> bool:
        """The direction of the objective."""
        return better(self.value) == "lower"

    @property
    def worst(self) -> float:
        """Stands for the objective of an ill trial: a number, as infinite ones confuse medians."""
        return _WORST if self.lower_is_better else -_WORST

    def check(self) -> None:
        """See that what was asked for goes together.

        Raises:
            UserError: when it does not.
        """
        if self.scheduler == "pbt" and self.search != "random":
            raise UserError(
                f"--search {self.search}: pbt chooses by itself; leave it out, or use "
                "--scheduler asha"
            )
        if self.scheduler == "pbt" and self.confirm:
            raise UserError(
                f"--confirm {self.confirm}: what pbt finds is a schedule, not a configuration to "
                "train again; leave it out, or use --scheduler asha"
            )
        if self.search != "grid" and self.confirm_top > self.samples:
            raise UserError(
                f"--confirm-top {self.confirm_top}: is more than all trials (--samples "
                f"{self.samples})"
            )

    def settle(self, base: RunConfig) -> TuneSettings:
        """The same with nothing left open that a recipe decides.

        Raises:
            UserError: when what was given cannot be.
        """
        self.check()
        images = self.max_images or base.images
        if images < 1:
            raise UserError("--images 0: a trial trains on at least one image")
        rung = self.rung or max(images // 9, 1)
        if rung > images:
            raise UserError(f"--rung {rung}: is more than a whole trial (--max-images {images})")
        if rung < 2 * base.batch:
            raise UserError(
                f"--rung {rung}: is less than two batches of {base.batch}; raise --max-images "
                "or --rung"
            )
        features = self.features
        if self.metric in THROUGH_INCEPTION:
            if features not in ("auto", "inception"):
                raise UserError(
                    f"--features {features}: {self.metric} is measured through inception; use "
                    f"--metric {self.value}"
                )
            features = "inception"
        return replace(self, max_images=images, rung=rung, features=features)

    def trial(self, base: RunConfig, seed: int) -> RunConfig:
        """What every trial has in common, before its own settings."""
        every = max(self.rung // 10, 1)
        changes = {
            "images": self.max_images,
            "seed": seed,
            "health.action": "warn",
            "evaluate.every": self.rung,
            "evaluate.metrics": [metric_of(self.metric)],
            "evaluate.num": self.rung_num,
            "evaluate.features": self.features,
            "output.log_every": every,
            "output.sample_every": self.rung,
            "output.checkpoint_every": self.rung,
        }
        return override(base, changes)
