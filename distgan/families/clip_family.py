"""What families that make clips share: the frames they learn from, clips of any length, the sheet.

A clip is float (n, frames, c, h, w) in [-1, 1]. Times are in stored frames of the data, whose
frames a second are `distgan.config.clip.Clips.fps`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from distgan.config.clip import FrameRule
from distgan.errors import UserError
from distgan.families.adversarial_family import AdversarialFamily
from distgan.families.base import Interface
from distgan.families.clip_config import ClipConfig
from distgan.families.data import Batch, Column, DataSpec, Draw
from distgan.health import video
from distgan.health.diagnosis import ADVERSARIAL, Rule
from distgan.metrics.names import CLIP_METRICS
from distgan.parallel import World

SHEET_CLIPS, SHEET_FRAMES = 10, 16
"""Film strips of a sheet, and the most frames of each."""
_MOST_PIXELS = 1 << 22
"""Of the frames that are made at once: 1,024 of 64x64."""


class ClipFamily(AdversarialFamily):
    """A family whose generator makes clips."""

    makes_clips: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = CLIP_METRICS
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    signs: ClassVar[Mapping[str, str]] = {"generator": "g", "discriminator": "d"}
    continuous: ClassVar[bool] = False
    """Whether frames can be made at any times, such as between two stored ones."""
    config: ClipConfig

    def __init__(self, config: ClipConfig, data: DataSpec, world: World) -> None:
        super().__init__(config, data, world)
        self._seen: tuple[Tensor, video.Seen] | None = None

    @property
    def conditional(self) -> bool:
        """Whether the networks take labels."""
        return self.config.conditional

    @property
    @abstractmethod
    def frame_rule(self) -> FrameRule:
        """Which frames of its clip a sample of training sees."""

    @property
    def shown_rule(self) -> FrameRule:
        """Which frames of a real clip a generated one is compared with."""
        return self.config.clip.rule

    def columns(self) -> dict[str, Column]:
        """Frames, when they are, and labels where the networks take them."""
        labels = {"label": Column("label")} if self.conditional else {}
        return {"frames": Column("frames"), "times": Column("times"), **labels}

    def reals(self, batch: Batch) -> Tensor:
        """Of a batch by `shown_rule`, its clips: float (n, frames, c, h, w)."""
        return batch.columns["frames"]

    @property
    def compared_columns(self) -> tuple[str, ...]:
        """Real clips, for signs of health: by `shown_rule`."""
        return ("frames",)

    def image_signs(
        self, networks: Mapping[str, nn.Module], made: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        """Those of `distgan.health.video`."""
        reals = self.reals(batch)
        # The same at every record, as `made` has to be compared with the same.
        if self._seen is None or self._seen[0] is not reals:
            self._seen = reals, video.seen(reals)
        return video.image_signs(made, self._seen[1])

    def health_rules(self) -> tuple[Rule, ...]:
        """Those of every family, of the only discriminator's game if there is one, and of clips."""
        games = ADVERSARIAL if len(self.games) == 1 else ()
        return (*super().health_rules(), *games, *video.RULES)

    def check_data(self) -> None:
        """See that the data holds clips that are long enough.

        Raises:
            UserError: naming the setting that wants more.
        """
        super().check_data()
        clips, name = self.data.clips, self.config.data
        if clips is None:
            return
        rules = (self.frame_rule, self.rule_option), (self.shown_rule, _option(self.config))
        for rule, option in rules:
            if clips.shortest < rule.shortest:
                raise UserError(
                    f"{option}: needs clips of at least {rule.shortest} frames, and the shortest "
                    f"of {name} has {clips.shortest}; take fewer frames or a smaller step, or make "
                    f"the set with `distgan data prepare --frames {rule.shortest}`, which drops "
                    "or, with --short loop, repeats shorter ones"
                )

    @property
    def rule_option(self) -> str:
        """The options that decide what `frame_rule` is, with their values."""
        return _option(self.config)

    @abstractmethod
    def inputs_of(self, frames: int, spacing: float) -> dict[str, Draw]:
        """The draws of a clip of so many frames; those of a longer one begin with the same names.

        Every draw is of a size of its own that depends on neither argument, so that a clip begins
        like a longer one of the same numbers.

        Args:
            spacing: stored frames from one frame to the next.
        """

    @abstractmethod
    def make(
        self, networks: Mapping[str, nn.Module], batch: Batch, frames: int, spacing: float
    ) -> Tensor:
        """Clips of the draws of `inputs_of`, float (n, frames, c, h, w) in [-1, 1]."""

    def inputs(self) -> dict[str, Draw]:
        """Those of a clip as it is made unless another one is asked for."""
        return self.inputs_of(self.config.clip.frames, self.config.clip.stride)

    def generate(self, networks: Mapping[str, nn.Module], batch: Batch) -> Tensor:
        """Clips of the length and step of the configuration, float (n, frames, c, h, w), a few at a
        time in memory."""
        clip, found = self.config.clip, []
        rows = {**batch.draws, **({} if batch.labels is None else {"label": batch.labels})}
        most = self.at_once(clip.frames)
        for parts in zip(*(torch.split(each, most) for each in rows.values()), strict=True):
            draws = dict(zip(rows, parts, strict=True))
            label = {"label": draws.pop("label")} if batch.labels is not None else {}
            found.append(self.make(networks, Batch(label, draws), clip.frames, clip.stride))
        return torch.cat(found)

    def at_once(self, frames: int) -> int:
        """How many clips of so many frames are made at a time: few enough for memory."""
        image = self.data.image
        return max(1, _MOST_PIXELS // (frames * image.height * image.width))

    def clips(
        self,
        networks: Mapping[str, nn.Module],
        seed: int,
        purpose: str,
        numbers: range,
        *,
        frames: int = 0,
        spacing: float = 0.0,
        labels: Tensor | None = None,
    ) -> Tensor:
        """Clips of these numbers, float (n, frames, c, h, w), a few at a time in memory.

        Args:
            frames: 0 for those of the configuration.
            spacing: stored frames from one to the next; 0 for the configuration's, which is the
                only one of a family that is not `continuous`.
            labels: as of `generation_batch`.
        """
        frames = frames or self.config.clip.frames
        spacing = spacing or self.config.clip.stride
        assert self.continuous or spacing == self.config.clip.stride, "see `continuous`"
        most, found = self.at_once(frames), []
        for start in range(numbers.start, numbers.stop, most):
            part = range(start, min(numbers.stop, start + most))
            mine = None
            if labels is not None:
                mine = labels[start - numbers.start : part.stop - numbers.start]
            inputs = self.inputs_of(frames, spacing)
            batch = self.generation_batch(networks, seed, purpose, part, mine, inputs)
            found.append(self.make(networks, batch, frames, spacing))
        return torch.cat(found)

    def sheet(
        self, networks: Mapping[str, nn.Module], seed: int, shown: Batch | None = None
    ) -> tuple[Tensor, int]:
        """Film strips: ten clips below each other, frame beside frame; labels take turns."""
        return strips(self.sheet_clips(networks, seed))

    def sheet_clips(self, networks: Mapping[str, nn.Module], seed: int) -> Tensor:
        """The clips of `sheet`, whole: float (10, frames, c, h, w), the same every time."""
        return self.clips(networks, seed, "sheet", range(SHEET_CLIPS))

    @property
    def fps(self) -> float:
        """Frames a second of the clips of the configuration, as fast as the data is."""
        assert self.data.clips is not None, "see check_data"
        return self.data.clips.fps / self.config.clip.stride

    def interfaces(self) -> dict[str, Interface]:
        """The generator of clips, and the discriminators."""
        label = {"label": self.labels} if self.labels else {}
        draws = {name: draw.size for name, draw in self.inputs().items()}
        image = list(self.data.image)
        seen = {role: Interface({"frames": image, **label}, "logits") for role in self.judged}
        return {"generator": Interface({**draws, **label}, "clips", generates=True), **seen}


def _option(config: ClipConfig) -> str:
    return f"--clip.frames {config.clip.frames} and --clip.stride {config.clip.stride}"


def strips(clips: Tensor) -> tuple[Tensor, int]:
    """Film strips for a grid: the frames, (n * columns, c, h, w), and how many make a row.

    Args:
        clips: (n, frames, c, h, w); of more than 16 frames 16 are taken, evenly, the first and
            the last with them.
    """
    columns = min(clips.shape[1], SHEET_FRAMES)
    at = torch.linspace(0, clips.shape[1] - 1, columns).round().long()
    return clips[:, at].flatten(0, 1), columns
