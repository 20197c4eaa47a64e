"""CUT and FastCUT: from one domain to another without pairs, by comparing places of an image.

Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation" (ECCV 2020). Write x for
an input, y for an image of the output's domain, G for the generator, F for the projector, and
E_l for layers in the first half of G. In a step the discriminator learns to tell y from G(x); then
generator and projector, in one update, minimise against the updated one

    adversarial loss of G(x) + weight (N(x, G(x)) + N(y, G(y))) / 2,

N being the mean over layers of `patch_nce` of F(E_l(output)) with F(E_l(input)) at some places.
FastCUT leaves N(y, G(y)) out, and mirrors x for half of the samples, but not in E_l(x).

The published code draws the places once for a whole batch, of one image as published. Here each
sample has its own, a function of its number, so that results depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from distgan.errors import UserError
from distgan.families.adversarial import STATISTICS
from distgan.families.base import Network
from distgan.families.cut_config import CUTConfig
from distgan.families.data import Batch, Draw
from distgan.families.one_way import OneWayTranslation
from distgan.families.terms import Step, Terms
from distgan.networks import philox
from distgan.networks.projector import at_places
from distgan.networks.translation import FeatureTranslator, gives_features
from distgan.objectives.contrastive import patch_nce
from distgan.parallel.batchnorm import kept_statistics


class CUT(OneWayTranslation):
    """Park et al. 2020, with the losses, penalties, networks and aids of `CUTConfig`."""

    paired = False
    trained = ("generator", "projector")
    signs: ClassVar[Mapping[str, str]] = {"generator": "g", "projector": "p", "discriminator": "d"}
    config: CUTConfig

    @property
    def parts(self) -> tuple[str, ...]:
        """What the generator is given, of each sample one: x, and y."""
        return ("x", "y") if self.config.nce_identity else ("x",)

    @property
    def statistics(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of a GAN, and the weighted contrastive loss of x and of y."""
        adversarial = (name for name in STATISTICS if not name.endswith("_class"))
        return (*adversarial, *self._contrastive)

    @property
    def _contrastive(self) -> tuple[str, ...]:
        return ("g_nce", "g_nce_identity")[: len(self.parts)]

    def check_data(self) -> None:
        """As of every translation, and that input and output have the same shape.

        Raises:
            UserError: naming the setting that makes them differ.
        """
        super().check_data()
        given, made = self.input_shape, self.output_shape
        if given != made:
            of = self.config.data_b if self.config.task == "sets" else self.config.task
            name = "data_b" if self.config.task == "sets" else "task"
            raise UserError(
                f"--{name} {of}: inputs are {'x'.join(map(str, given))} and outputs "
                f"{'x'.join(map(str, made))}, but cut looks at both in the same layers of the "
                "generator; prepare both sides alike, or use another task"
            )

    def draws(self) -> dict[str, Draw]:
        """As of every translation, and whether x is mirrored."""
        flip = {"flip": Draw("uniform", 1)} if self.config.flip_equivariance else {}
        return {**super().draws(), **flip}

    def networks(self) -> dict[str, Network]:
        """The generator, the projector of its layers, and the discriminator.

        Raises:
            UserError: for a generator whose layers cannot be looked at.
        """
        generator = self.new_generator(self.input_shape, self.output_shape)
        if not gives_features(generator.module):
            raise UserError(
                f"--generator.network.name {self.config.generator.network.name}: gives no features "
                "of its layers, in which cut compares images; use resnet"
            )
        looked = cast(FeatureTranslator, generator.module)
        channels = [shape.channels for shape in looked.feature_shapes(looked.feature_layers)]
        settings = self.config.projector
        projector = Network(
            settings.network.build(channels),
            tuple(torch.zeros(1, 1, each) for each in channels),
            settings.optimizer,
            settings.clip_norm,
        )
        discriminator = self.new_discriminator()
        return {"generator": generator, "projector": projector, "discriminator": discriminator}

    def _originals(self, batch: Batch) -> Tensor:
        """The images x, and behind them y: float (parts n, c, h, w)."""
        sides = self.sides(batch)
        return torch.cat(sides) if self.config.nce_identity else sides.input

    def _flipped(self, batch: Batch, maps: Tensor) -> Tensor:
        """Those of the samples mirrored whose inputs are: float (parts n, c, h, w)."""
        numbers = batch.draws.get("flip")
        if numbers is None:
            return maps
        flips = (numbers > 0.5).view(-1, 1, 1, 1).repeat(len(maps) // len(numbers), 1, 1, 1)
        return torch.where(flips, maps.flip(3), maps)

    def given(self, batch: Batch) -> Tensor:
        """What is translated, some of it mirrored: float (parts n, c, h, w)."""
        return self._flipped(batch, self._originals(batch))

    def generator_update(self, step: Step, batch: Batch, made: Tensor, real: Any) -> Terms:
        """The adversarial terms and the contrastive ones."""
        count = len(made) // len(self.parts)
        terms = self.generator_terms(step, batch, made[:count], real)
        if step.only_coupled:
            return terms
        weight = self.config.nce.at(step.images_seen) / len(self.parts)
        features = self._flipped_features(step, batch, made)
        rows = self._contrast(step, batch, self._originals(batch), features)
        losses = zip(self._contrastive, rows.chunk(len(self.parts)), strict=True)
        means = {name: weight * part.mean() for name, part in losses}
        return replace(terms, means={**terms.means, **means})

    def _flipped_features(self, step: Step, batch: Batch, made: Tensor) -> list[Tensor]:
        """Features of the outputs by layer, as they would be of outputs for `_originals`."""
        return [self._flipped(batch, maps) for maps in self._features(step, made, "query")]

    def _features(self, step: Step, images: Tensor, draws: str) -> list[Tensor]:
        network = step.unwrapped("generator")
        generator = cast(FeatureTranslator, network)
        parts = self.parts
        with step.autocast(), step.samples(*parts, phase=draws), kept_statistics(network):
            return generator.with_features(images, generator.feature_layers)

    def _contrast(
        self, step: Step, batch: Batch, originals: Tensor, of_outputs: Sequence[Tensor]
    ) -> Tensor:
        """The mean over layers of `patch_nce`: float (parts n,).

        Args:
            of_outputs: features by layer, float (parts n, c, h, w), with a graph.
        """
        with torch.no_grad():
            of_inputs = self._features(step, originals, "key")
        places = self._places(batch, [maps[0, 0].numel() for maps in of_outputs])
        with step.autocast():
            queries = step["projector"](*map(at_places, of_outputs, places))
            with torch.no_grad():
                keys = step.unwrapped("projector")(*map(at_places, of_inputs, places))
        losses = [
            patch_nce(query, key, self.config.temperature)
            for query, key in zip(queries, keys, strict=True)
        ]
        return torch.stack(losses).mean(0)

    def _places(self, batch: Batch, sizes: Sequence[int]) -> list[Tensor]:
        """Which places of the maps of so many are compared: int64 (parts n, p) by map."""
        assert batch.numbers is not None, "places are drawn by the numbers of the samples"
        key = philox.key_of(self.config.seed, "places")
        found = [
            some_places(batch.numbers, sizes, self.config.places, philox.Place(key, call=part))
            for part in range(len(self.parts))
        ]
        return [torch.cat(parts) for parts in zip(*found, strict=True)]


def some_places(
    numbers: Tensor, sizes: Sequence[int], most: int, place: philox.Place
) -> list[Tensor]:
    """Random places of several maps, for each sample its own, none twice.

    Args:
        numbers: of the samples, int64 (n,).
        sizes: of the maps.
        most: places of a map; all, in their order, where it has no more.
        place: which random numbers of a sample decide.

    Returns:
        For each map int64 (n, min(size, most)).
    """
    larger = [size for size in sizes if size > most]
    # One call for all maps: it takes a hundred operations, however much it makes.
    words = iter(philox.words(numbers, sum(larger), place).split_with_sizes(larger, 1))
    return [
        next(words).argsort(dim=1, stable=True)[:, :most]
        if size > most
        else torch.arange(size, device=numbers.device).expand(len(numbers), -1)
        for size in sizes
    ]
