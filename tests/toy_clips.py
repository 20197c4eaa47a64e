"""Families of clips in one file: a linear generator of frames; see `registered`.

The frame at a time is tanh(linear(content, motion)); motion is a number for every frame, or for
the one that makes frames at any times a wave of which the content decides the speed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.config.clip import Clips, FrameRule
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.settings import SETTINGS, override
from distgan.config.shape import ImageShape
from distgan.families import (
    Batch,
    DataSpec,
    Draw,
    Network,
    Phase,
    Step,
    Terms,
    build,
    register,
    registry,
)
from distgan.families.clip_config import ClipConfig
from distgan.families.clip_family import ClipFamily
from distgan.runs import folder as run
from distgan.runs import samples
from distgan.runs.export import export
from distgan.storage.storage import Storage

CONTENT = 4


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ToyClipsConfig(ClipConfig):
    """A generator of one layer."""

    family: Literal["toy-clips", "toy-times"] = "toy-clips"
    optimizer: AdamSettings = field(default_factory=AdamSettings)


class ToyClips(ClipFamily):
    """Minimises the mean square of the difference from real frames."""

    config: ToyClipsConfig
    statistics = ("loss",)
    signs: ClassVar[Mapping[str, str]] = {"generator": "g"}

    @property
    def frame_rule(self) -> FrameRule:
        return self.config.clip.rule

    @property
    def judged(self) -> Mapping[str, ImageShape]:
        return {}

    def inputs_of(self, frames: int, spacing: float) -> dict[str, Draw]:
        steps = 0 if self.continuous else frames
        motion = {f"motion-{step}": Draw("normal", 1) for step in range(steps)}
        return {"content": Draw("normal", CONTENT), **motion}

    def draws(self) -> dict[str, Draw]:
        return self.inputs()

    def networks(self) -> dict[str, Network]:
        shape = self.data.image
        width = CONTENT + 1 + self.labels
        network = nn.Sequential(nn.Linear(width, shape[0] * shape[1] * shape[2]), nn.Tanh())
        example = (torch.zeros(1, width),)
        average = EMASettings()
        return {"generator": Network(network, example, self.config.optimizer, average=average)}

    def phases(self, images_seen: int) -> Sequence[Phase]:
        return (Phase("generator", ("generator",), self._terms),)

    def _terms(self, step: Step, batch: Batch, given: Any) -> Terms:
        clip = self.config.clip
        made = self.make({"generator": step["generator"]}, batch, clip.frames, clip.stride)
        return Terms({"loss": (made - batch.columns["frames"]).square().mean()})

    def make(
        self, networks: Mapping[str, nn.Module], batch: Batch, frames: int, spacing: float
    ) -> Tensor:
        content = batch.draws["content"]
        if self.continuous:
            times = spacing * torch.arange(frames, device=content.device)
            motion = (times * (1 + 0.1 * content[:, :1])).sin()
        else:
            motion = torch.cat([batch.draws[f"motion-{step}"] for step in range(frames)], 1)
        still = content
        if batch.labels is not None:
            still = torch.cat([content, nn.functional.one_hot(batch.labels, self.labels)], 1)
        rows = torch.cat([still.repeat_interleave(frames, 0), motion.reshape(-1, 1)], 1)
        return networks["generator"](rows).view(-1, frames, *self.data.image)

    def health_signs(self, images_seen: int) -> dict[str, float]:
        return {}


class ToyTimes(ToyClips):
    """Makes frames at any times."""

    continuous = True


def toy(family: Literal["toy-clips", "toy-times"] = "toy-clips") -> ToyClipsConfig:
    return ToyClipsConfig(recipe=family, family=family, data="moving-mnist")


@contextmanager
def registered() -> Iterator[None]:
    """A context in which the package knows both families and their recipes."""
    register("toy-clips", ToyClipsConfig, ToyClips, {"toy-clips": toy})
    register("toy-times", ToyClipsConfig, ToyTimes, {"toy-times": lambda: toy("toy-times")})
    try:
        yield
    finally:
        for name in ("toy-clips", "toy-times"):
            del registry.FAMILIES[name], registry.RECIPES[name]


def data_of(size: int = 16, channels: int = 1, classes: Sequence[str] = ()) -> DataSpec:
    """Clips of ten frames a second."""
    return DataSpec(ImageShape(channels, size, size), tuple(classes), clips=Clips(20, 24, 400, 10))


def write_run(
    folder: Path,
    family: Literal["toy-clips", "toy-times"] = "toy-clips",
    data: DataSpec | None = None,
    **changes: Any,
) -> str:
    """A run of untrained weights with its export and two sheets of samples, as training leaves."""
    data = data or data_of()
    config = override(toy(family), {"conditional": bool(data.classes), **changes})
    torch.manual_seed(0)
    built, storage = build(config, data), Storage(folder)
    run.create(storage, config)
    run.record_environment(storage, 1, "cpu", 0)
    networks = {role: net.module.eval() for role, net in built.networks().items()}
    export(storage, config, built, networks, networks, 640)
    for images in (0, 640):
        sheet = samples.sample_sheet(built, networks, images)
        storage.write(samples.name(images), sheet.picture)
        storage.write(samples.name(images, "webp"), sheet.animation)
    return str(folder)
