"""What a family of models has to say: its data, networks, phases, measures.

Everything here is told to `distgan.training`, which does the rest; see `distgan.families.terms` for
what an update minimises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from distgan.config.clip import FrameRule
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import RunConfig
from distgan.errors import UserError
from distgan.families.autoencoder import Autoencoder
from distgan.families.data import Batch, Column, DataSpec, Draw, drawn
from distgan.families.terms import Phase
from distgan.health.diagnosis import Rule, collapse, exploding, non_finite
from distgan.metrics.names import AUTOENCODER_METRICS, IMAGE_METRICS
from distgan.networks.random import has_random_layers, sample_numbers
from distgan.parallel import World


@dataclass(frozen=True)
class Network:
    """A network to be trained, and with what.

    Args:
        example: arguments of one sample, of the network's dtype, on the CPU.
        clip_norm: longest gradient, over all weights together; 0 for any.
        average: settings of a moving average, if one is kept.
        every: a step in so many trains it.
    """

    module: nn.Module
    example: tuple[Tensor | None, ...]
    optimizer: AdamSettings
    clip_norm: float = 0.0
    average: EMASettings | None = None
    every: int = 1


MOST_ROWS = 100
"""Of a grid of samples."""
SHEET_WIDTH = 10
"""Images in a row of one."""
SHEET_ROWS_OF_DATA = ("images", "reconstructions")
"""Rows below the samples of a model with an encoder."""


@dataclass(frozen=True)
class Interface:
    """A network as others see it: its input and output in words, and whether it generates.

    ``input`` names each argument with its size, such as ``{"z": 100, "label": 10}``; ``output``
    is one of ``images``, ``logits``, ``code`` or a family's own word.
    """

    input: Mapping[str, Any]
    output: str
    generates: bool = False


class Stateful(Protocol):
    """What goes into checkpoints besides networks; all ranks call both alike."""

    def state_dict(self, world: World) -> dict[str, Any]:
        """Of all ranks together, the same on each."""
        ...

    def load_state_dict(self, state: dict[str, Any], world: World) -> None:
        """Take up what `state_dict` gave, on any number of ranks."""
        ...


class Family(ABC):
    """A kind of model with one configuration: what it needs and what an update computes.

    Args:
        config: of the family's own class.
        data: what its networks see.
    """

    statistics: ClassVar[tuple[str, ...]]
    """Names of the terms and observed values that are recorded."""
    signs: ClassVar[Mapping[str, str]]
    """For every role the prefix of its signs of health in records, such as ``g`` of g_grad_norm."""
    metrics: ClassVar[tuple[str, ...]] = IMAGE_METRICS
    """Names of the metrics that a run can be measured by."""

    def __init__(self, config: Any, data: DataSpec, world: World) -> None:
        self.config: RunConfig = config
        self.data, self.world = data, world

    @property
    def conditional(self) -> bool:
        """Whether the networks take labels."""
        return False

    @property
    def labels(self) -> int:
        """How many labels `generate` takes; 0 for none."""
        return len(self.data.classes) if self.conditional else 0

    def columns(self) -> dict[str, Column]:
        """What of the data a batch holds: images, and labels where the networks take them."""
        labels = {"label": Column("label")} if self.conditional else {}
        return {"image": Column("image"), **labels}

    @abstractmethod
    def draws(self) -> dict[str, Draw]:
        """The random numbers of every sample, by stream."""

    @abstractmethod
    def networks(self) -> dict[str, Network]:
        """New networks by role, their weights drawn from torch's generator in this order."""

    averaged: ClassVar[tuple[str, ...]] = ()
    """Roles of the networks that a moving average is kept of."""

    @abstractmethod
    def phases(self, images_seen: int) -> Sequence[Phase]:
        """The updates of the step after so many images, in their order."""

    @abstractmethod
    def inputs(self) -> dict[str, Draw]:
        """The draws that `generate` needs."""

    makes_clips: ClassVar[bool] = False
    """Whether it learns from clips and makes such: see `distgan.families.clip_family.ClipFamily`.
    """

    @property
    def frame_rule(self) -> FrameRule | None:
        """Which frames of its clip a sample sees; None of a family that learns from images."""
        return None

    @property
    def shown_rule(self) -> FrameRule | None:
        """Which frames of a real clip a generated one is compared with; None of images."""
        return None

    translates: ClassVar[bool] = False
    """Whether it makes images of images: see `distgan.families.translation.Translation`."""

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The columns of the data that `generate` needs rows of; none where it needs draws only."""
        return ()

    @abstractmethod
    def generate(self, networks: Mapping[str, nn.Module], batch: Batch) -> Tensor:
        """Images, float (n, c, h, w) in [-1, 1], for metrics, grids and health.

        Args:
            networks: by role, averages in the place of networks that have one.
            batch: the draws of `inputs`, the rows of `input_columns`, and labels where there are
                any.
        """

    @property
    def sheet_columns(self) -> tuple[str, ...]:
        """Columns of the data that `sheet` is given rows of, where it shows any."""
        return tuple(self.columns()) if self.encodes else ()

    def sheet(
        self, networks: Mapping[str, nn.Module], seed: int, shown: Batch | None = None
    ) -> tuple[Tensor, int]:
        """Images for a grid, the same inputs every time, and how many make a row.

        Samples, and below them what an encoder makes of images, under these.

        Args:
            shown: `SHEET_WIDTH` rows of `sheet_columns`, of held-out data where there is any.
        """
        samples, columns = self._samples(networks, seed)
        model = None if shown is None else self.autoencoder(networks)
        if shown is None or model is None:
            return samples, columns
        images = shown.columns["image"].to(samples)
        made = model.decode(model.encode(images, shown.labels).mean, shown.labels)
        return torch.cat([samples, images, made.to(samples)]), columns

    def _samples(self, networks: Mapping[str, nn.Module], seed: int) -> tuple[Tensor, int]:
        """Ten by ten; with labels a row for each, and draws shared by column. Of more than a
        hundred labels a hundred are shown, evenly among them, the first and the last with them."""
        columns = SHEET_WIDTH
        if not self.labels:
            batch = self.generation_batch(networks, seed, "sheet", range(columns**2))
            return self.images(networks, batch, seed, "sheet"), columns
        shown = np.linspace(0, self.labels - 1, min(self.labels, MOST_ROWS)).round().astype(int)
        row = drawn(self.inputs(), seed, "sheet", range(columns))
        draws = {name: numbers.repeat(len(shown), 1) for name, numbers in row.items()}
        labels = torch.from_numpy(shown).repeat_interleave(columns)
        numbers = torch.arange(columns).repeat(len(shown))
        batch = _like(networks, draws, labels, numbers)
        return self.images(networks, batch, seed, "sheet"), columns

    def generation_batch(
        self,
        networks: Mapping[str, nn.Module],
        seed: int,
        purpose: str,
        numbers: range,
        labels: Tensor | None = None,
        inputs: Mapping[str, Draw] | None = None,
    ) -> Batch:
        """What `generate` makes the images of these numbers of.

        Args:
            purpose: part of the streams' names, so that grids, metrics and samples differ.
            labels: int64 (n,), where the networks take them; without, all labels take turns.
            inputs: other draws than those of `inputs`.
        """
        if self.labels and labels is None:
            labels = torch.arange(numbers.start, numbers.stop) % self.labels
        found = drawn(self.inputs() if inputs is None else inputs, seed, purpose, numbers)
        return _like(networks, found, labels, torch.arange(numbers.start, numbers.stop))

    @abstractmethod
    def interfaces(self) -> dict[str, Interface]:
        """The networks that are exported, by role."""

    def autoencoder(self, networks: Mapping[str, nn.Module]) -> Autoencoder | None:
        """The encoder and decoder among the networks by role, of a family that has an encoder."""
        return None

    @property
    def encodes(self) -> bool:
        """Whether it has an encoder."""
        return bool(set(self.metrics) & set(AUTOENCODER_METRICS))

    def lacks(self, metric: str) -> str:
        """Why a run cannot be measured by a metric, with the remedy; empty where it can."""
        if metric in self.metrics:
            return ""
        return (
            f"a model of the family {self.config.family} cannot be measured by it; it has "
            f"{', '.join(self.metrics)}"
        )

    def health_rules(self) -> tuple[Rule, ...]:
        """What a run's health is judged by at every record, the gravest first."""
        of_networks = (exploding(prefix, role) for role, prefix in self.signs.items())
        return (non_finite, *of_networks, collapse)

    def health_signs(self, images_seen: int) -> dict[str, float]:
        """Values for the rules besides the means of the statistics; they are not recorded."""
        return {}

    def image_signs(
        self, networks: Mapping[str, nn.Module], made: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        """Signs of health of what `generate` made of a batch, scalars by name; recorded.

        Only of a family with `compared_columns`; all ranks are given the same.
        """
        return {}

    @property
    def compared_columns(self) -> tuple[str, ...]:
        """The columns of held-out rows that `image_signs` looks at; none without."""
        return self.input_columns

    def reals(self, batch: Batch) -> Tensor:
        """Of a batch, the real images that generated ones are to look like: (n, c, h, w)."""
        return batch.columns["image"]

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """Further values of a record, from the means of the statistics."""
        return {}

    def check_data(self) -> None:
        """See that the data has what the configuration wants: labels, where it is conditional.

        Raises:
            UserError: naming the setting that wants more.
        """
        if self.makes_clips != (self.data.clips is not None):
            held, wanted = ("images", "clips") if self.makes_clips else ("clips", "images")
            remedy = (
                "give a set of clips, such as moving-mnist"
                if self.makes_clips
                else "use --family mocogan or video, or give a set of images"
            )
            raise UserError(
                f"--data {self.config.data}: holds {held}, and the family {self.config.family} "
                f"learns from {wanted}; {remedy}"
            )
        if self.conditional and not self.data.classes:
            raise UserError(
                f"--conditional true: the set {self.config.data} has no labels; "
                "use one with a label column, or --conditional false"
            )

    def images(
        self, networks: Mapping[str, nn.Module], batch: Batch, seed: int = 0, purpose: str = ""
    ) -> Tensor:
        """What `generate` makes, where random layers draw by the numbers of the samples."""
        if batch.numbers is None or not any(map(has_random_layers, networks.values())):
            return self.generate(networks, batch)
        with sample_numbers(seed, f"generate/{purpose}", batch.numbers):
            return self.generate(networks, batch)

    def extra_state(self) -> dict[str, Stateful]:
        """What else goes into a checkpoint."""
        return {}

    def before_step(self, images_seen: int) -> None:  # noqa: B027
        """Follow schedules of the family's own."""

    def after_step(self, networks: Mapping[str, nn.Module]) -> None:  # noqa: B027
        """After all phases of a step; all ranks call it."""

    @property
    def lazy_interval(self) -> int:
        """Images between two steps whose terms cost more than those of the others; 0 for none."""
        return 0

    def gauges(self) -> dict[str, float]:
        """Values of now for a record, besides the means of the statistics."""
        return {}


def _like(
    networks: Mapping[str, nn.Module],
    draws: Mapping[str, Tensor],
    labels: Tensor | None,
    samples: Tensor,
) -> Batch:
    """A batch on the device of the networks, in their dtype."""
    like = next(parameter for net in networks.values() for parameter in net.parameters())
    columns = {} if labels is None else {"label": labels.to(like.device)}
    found = {name: numbers.to(like) for name, numbers in draws.items()}
    return Batch(columns, found, numbers=samples.to(like.device))
