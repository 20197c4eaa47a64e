"""A family in one file: an autoencoder with noise in its code, registered below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import RunConfig
from distgan.config.settings import SETTINGS, Width
from distgan.families import Batch, Draw, Family, Interface, Network, Phase, Step, Terms, register


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ToyConfig(RunConfig):
    """An autoencoder of two layers."""

    family: Literal["toy"] = "toy"
    code: Width = 8
    """Length of the code."""
    optimizer: AdamSettings = field(default_factory=AdamSettings)


class Autoencoder(nn.Module):
    """Images to images by way of a code, which noise is added to."""

    def __init__(self, size: int, code: int) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(size, code), nn.Linear(code, size)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        return self.decode(self.encode(images.flatten(1)) + 0.1 * noise).tanh().view_as(images)


class Toy(Family):
    """Minimises the mean square of the difference."""

    config: ToyConfig
    statistics = ("loss",)
    averaged = ("autoencoder",)
    signs: ClassVar[Mapping[str, str]] = {"autoencoder": "a"}

    def draws(self) -> dict[str, Draw]:
        return {"noise": Draw("normal", self.config.code)}

    def networks(self) -> dict[str, Network]:
        image = torch.zeros(1, *self.data.image)
        network = Autoencoder(image.numel(), self.config.code)
        example = (image, torch.zeros(1, self.config.code))
        average = EMASettings()
        return {"autoencoder": Network(network, example, self.config.optimizer, average=average)}

    def phases(self, images_seen: int) -> Sequence[Phase]:
        return (Phase("autoencoder", ("autoencoder",), self._terms),)

    def _terms(self, step: Step, batch: Batch, given: Any) -> Terms:
        images = batch.columns["image"]
        with step.autocast():
            made = step["autoencoder"](images, batch.draws["noise"])
        return Terms({"loss": (made.to(images.dtype) - images).square().mean()})

    def inputs(self) -> dict[str, Draw]:
        return {"code": Draw("normal", self.config.code)}

    def generate(self, networks: Mapping[str, nn.Module], batch: Batch) -> Tensor:
        made = networks["autoencoder"].decode(batch.draws["code"])
        return made.tanh().view(-1, *self.data.image)

    def interfaces(self) -> dict[str, Interface]:
        return {"autoencoder": Interface({"code": self.config.code}, "images", generates=True)}


register("toy", ToyConfig, Toy, {"toy": lambda: ToyConfig(recipe="toy")})
