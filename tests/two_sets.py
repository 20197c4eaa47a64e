"""A family that learns from two sets: a map of images of the one to images of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

import pytest
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.config.optimizer import AdamSettings
from distgan.config.run import RunConfig
from distgan.config.settings import SETTINGS
from distgan.errors import UserError
from distgan.families import (
    Batch,
    Column,
    Draw,
    Family,
    Interface,
    Network,
    Phase,
    Step,
    Terms,
    registry,
)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TwoSetsConfig(RunConfig):
    """One linear layer."""

    family: Literal["two-sets"] = "two-sets"
    data_b: str = ""
    """The second set."""
    in_halves: bool = False
    """Take the halves of one set."""
    optimizer: AdamSettings = field(default_factory=AdamSettings)

    @property
    def second_set(self) -> str:
        return self.data_b

    @property
    def halved(self) -> bool:
        return self.in_halves


class TwoSets(Family):
    """Minimises the mean square of the difference of images that have nothing to do with another."""

    config: TwoSetsConfig
    statistics = ("loss",)

    def check_data(self) -> None:
        super().check_data()
        if self.data.other is None and not self.config.halved:
            raise UserError("--data_b: names no set")

    def columns(self) -> dict[str, Column]:
        return {"image": Column("image"), "other": Column("image", second=True)}

    def draws(self) -> dict[str, Draw]:
        return {}

    def networks(self) -> dict[str, Network]:
        given, made = (torch.zeros(1, *shape) for shape in (self.data.image, self._made))
        network = nn.Sequential(nn.Flatten(), nn.Linear(given.numel(), made.numel()))
        return {"map": Network(network, (given,), self.config.optimizer)}

    @property
    def _made(self) -> tuple[int, ...]:
        return self.data.other or self.data.image

    def phases(self, images_seen: int) -> Sequence[Phase]:
        return (Phase("map", ("map",), self._terms),)

    def _terms(self, step: Step, batch: Batch, given: Any) -> Terms:
        wanted = batch.columns["other"]
        made = step["map"](batch.columns["image"])
        return Terms({"loss": (made - wanted.flatten(1)).square().mean()})

    def inputs(self) -> dict[str, Draw]:
        return {"noise": Draw("normal", self.data.image.height * self.data.image.width)}

    def generate(self, networks: Mapping[str, nn.Module], batch: Batch) -> Tensor:
        made = networks["map"](batch.draws["noise"].view(-1, *self.data.image))
        return made.tanh().view(-1, *self._made)

    def interfaces(self) -> dict[str, Interface]:
        return {"map": Interface({"image": list(self.data.image)}, "images", generates=True)}


@pytest.fixture
def two_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The family and its recipe, for a test."""
    monkeypatch.setitem(registry.FAMILIES, "two-sets", (TwoSetsConfig, TwoSets))
    monkeypatch.setitem(registry.RECIPES, "two-sets", lambda: TwoSetsConfig(recipe="two-sets"))
