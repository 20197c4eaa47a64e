"""Held-out images through an encoder and back: bounds of their likelihood, and reconstructions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan import draws
from distgan.config.evaluate import EvaluateSettings
from distgan.data.images import ImageSet
from distgan.errors import UserError
from distgan.evaluate.extraction import (
    BLOCK,
    among_own,
    extract_all_ranks,
    in_8_bits,
    own_places,
)
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.evaluate.measures import Value, mean_over_images, reconstruction_frechet
from distgan.evaluate.reals import checksum_of, held_out_of, mixed, read_images
from distgan.families.autoencoder import Autoencoder
from distgan.features.base import Extractor, without_tf32
from distgan.metrics.likelihood import (
    active_units,
    bits_per_dimension,
    importance_weighted_bound,
)
from distgan.metrics.moments import Moments
from distgan.metrics.names import AUTOENCODER_METRICS
from distgan.networks.random import normal_draws
from distgan.networks.vae import Posterior
from distgan.objectives.likelihoods import binarised
from distgan.objectives.variational import divergence_by_dimension
from distgan.parallel import World

ROWS = 1_000
"""Images that are decoded at a time for importance-weighted bounds."""

LEVEL = 2 / 255
"""The distance of two of 256 levels in [-1, 1]."""

WANT_FEATURES = {"reconstruction-frechet"}
"""Metrics that need an extractor."""
_WANT_TWO = {"reconstruction-frechet", "active-units"}
"""Metrics of a variance, for which one image is not enough."""


@dataclass(frozen=True)
class _Block:
    """Up to `BLOCK` images: their numbers in the set, int64 (n,), uint8 (n, c, h, w), labels."""

    place: int
    numbers: NDArray[np.int64]
    pixels: Tensor
    labels: Tensor | None

    @property
    def images(self) -> Tensor:
        """float32 (n, c, h, w) in [-1, 1]."""
        return self.pixels.float() / 127.5 - 1


class EncodedImages:
    """Images that a model with an encoder is measured by: held-out ones where the set has them.

    All ranks must construct it and call it alike. They share the blocks; what an image gives
    depends on no other block, and its random numbers are those of its number in the set.

    Raises:
        UserError: for fewer images than the metrics need.
    """

    def __init__(
        self, images: ImageSet, settings: EvaluateSettings, labelled: bool, world: World
    ) -> None:
        held_out = held_out_of(images, settings, labelled)
        self._training, self._images = images, images if held_out is None else held_out
        self._settings, self._labelled, self._world = settings, labelled, world
        split = "held out" if settings.held_out else "validation"
        self.split = "train" if held_out is None else split
        self.count = min(settings.num, self._images.count)
        self.checksum = checksum_of(self._images, world)
        self._wanted = set(settings.metrics) & set(AUTOENCODER_METRICS)
        self._real: FeatureStatistics | None = None
        for metric in _WANT_TWO & self._wanted:
            if self.count < 2:
                raise UserError(
                    f"--evaluate.metrics {metric}: needs at least 2 held-out images, and the set "
                    "has 1; leave it out, or hold out more with `distgan data prepare --validation`"
                )

    @property
    def card_fields(self) -> dict[str, Any]:
        """Those of `Card` that are known before a model."""
        return {
            "encoded": self.count,
            "encoded_split": self.split,
            "encoded_checksum": self.checksum,
            "importance_samples": self._settings.iwae_k if "iwae" in self._wanted else 0,
        }

    def measure(
        self, model: Autoencoder, extractor: Extractor | None
    ) -> dict[str, dict[str, Value]]:
        """The values by metric and name; all ranks must call it.

        Args:
            extractor: for the metrics in `WANT_FEATURES`.
        """
        with without_tf32():
            return self._measure(model, extractor)

    def _measure(
        self, model: Autoencoder, extractor: Extractor | None
    ) -> dict[str, dict[str, Value]]:
        if model.couples and self._wanted & {"elbo", "iwae", "bits-per-dimension"}:
            model = model.calibrated(self._training_error(model))
        blocks = list(self._blocks(self._images, self.count))
        found = self._of_images(model, blocks) if self._wanted - WANT_FEATURES else {}
        if "reconstruction-frechet" in self._wanted:
            assert extractor is not None, "see WANT_FEATURES"
            found["reconstruction-frechet"] = self._frechet(model, extractor, blocks)
        return found

    def _of_images(self, model: Autoencoder, blocks: list[_Block]) -> dict[str, dict[str, Value]]:
        means, mine = Moments(model.latent), []
        for block in blocks:
            rows, posterior = self._of_block(model, block)
            means.add(posterior.mean)
            divergences = divergence_by_dimension(*posterior).sum(0).cpu()
            mine.append((block.place, rows, divergences))
        means.reduce(self._world)
        parts = sorted(
            (part for rank in self._world.gather(mine) for part in rank), key=lambda part: part[0]
        )
        whole = {name: torch.cat([its[name] for _, its, _ in parts]) for name in parts[0][1]}
        total = torch.stack([its for _, _, its in parts]).sum(0)
        return self._values(whole, total / self.count, means)

    def _values(
        self, rows: Mapping[str, Tensor], divergences: Tensor, means: Moments
    ) -> dict[str, dict[str, Value]]:
        found: dict[str, dict[str, Value]] = {}
        if "elbo" in self._wanted:
            names = ("elbo", "reconstruction-term", "kl")
            found["elbo"] = {name: mean_over_images(rows[name]) for name in names}
        for metric, name in (
            ("iwae", "iwae"),
            ("bits-per-dimension", "bits-per-dimension"),
            ("reconstruction", "reconstruction-error"),
        ):
            if metric in self._wanted:
                found[metric] = {name: mean_over_images(rows[name])}
        if "active-units" in self._wanted:
            found["active-units"] = {"active-units": Value(float(active_units(means)))}
        if "kl-dimensions" in self._wanted:
            found["kl-dimensions"] = {
                f"kl-{number}": Value(value) for number, value in enumerate(divergences.tolist(), 1)
            }
        return found

    def _of_block(self, model: Autoencoder, block: _Block) -> tuple[dict[str, Tensor], Posterior]:
        """Values of each image by name, float64 (n,), on the CPU, and q(z|x) in float64."""
        rows: dict[str, Tensor] = {}
        images = self._seen(model, block)
        posterior = model.encode(images, block.labels)
        if "elbo" in self._wanted:
            rows |= self._elbo(model, images, posterior, block)
        if "iwae" in self._wanted:
            rows["iwae"] = self._iwae(model, images, posterior, block)
        if "bits-per-dimension" in self._wanted:
            rows["bits-per-dimension"] = self._bits(model, images, posterior, block)
        if "reconstruction" in self._wanted:
            plain = block.images
            z = model.encode(plain, block.labels).mean
            # Of pixels in [0, 1]: a quarter of that of pixels in [-1, 1].
            errors = model.squared_error(plain, z, block.labels) / (4 * plain[0].numel())
            rows["reconstruction-error"] = errors
        kept = {name: values.cpu() for name, values in rows.items()}
        return kept, Posterior(posterior.mean.double(), posterior.log_variance.double())

    def _elbo(
        self, model: Autoencoder, images: Tensor, posterior: Posterior, block: _Block
    ) -> dict[str, Tensor]:
        term = -model.log_likelihood(images, self._drawn(posterior, block), block.labels)
        mean, log_variance = posterior
        divergence = divergence_by_dimension(mean.double(), log_variance.double()).sum(1)
        return {"elbo": -term - divergence, "reconstruction-term": term, "kl": divergence}

    def _iwae(
        self, model: Autoencoder, images: Tensor, posterior: Posterior, block: _Block
    ) -> Tensor:
        def log_likelihood(z: Tensor) -> Tensor:
            count = z.shape[1]
            labels = None if block.labels is None else block.labels.repeat_interleave(count)
            again = images.repeat_interleave(count, dim=0)
            return model.log_likelihood(again, z.flatten(0, 1), labels).view(len(z), count)

        return importance_weighted_bound(
            *posterior,
            log_likelihood,
            lambda k: self._noise(block, k, model.latent),
            self._settings.iwae_k,
            max(1, ROWS // len(images)),
        )

    def _bits(
        self, model: Autoencoder, images: Tensor, posterior: Posterior, block: _Block
    ) -> Tensor:
        if model.kind != "density":
            elbo = self._elbo(model, images, posterior, block)["elbo"]
            return bits_per_dimension(elbo, images[0].numel())
        # Uniform noise of the width of a level, so that the density bounds a probability of levels.
        noise = self._uniforms(block, "dequantise").view_as(images)
        spread = images + (noise - 0.5) * LEVEL
        elbo = self._elbo(model, spread, model.encode(spread, block.labels), block)["elbo"]
        return bits_per_dimension(elbo, images[0].numel(), LEVEL)

    def _drawn(self, posterior: Posterior, block: _Block) -> Tensor:
        """One z of each image, (n, latent)."""
        mean = posterior.mean
        return posterior.draw(self._noise(block, range(1), mean.shape[1])[:, 0].to(mean))

    def _noise(self, block: _Block, k: range, latent: int) -> Tensor:
        numbers = torch.from_numpy(block.numbers).to(self._world.device)
        return normal_draws(self._settings.seed, "evaluate-encoded", numbers, k, latent)

    def _uniforms(self, block: _Block, purpose: str) -> Tensor:
        parts = [range(number, number + 1) for number in block.numbers.tolist()]
        size = block.pixels[0].numel()
        found = draws.uniforms(self._settings.seed, f"evaluate-{purpose}", parts, size)
        return torch.from_numpy(found).to(block.pixels.device)

    def _seen(self, model: Autoencoder, block: _Block) -> Tensor:
        """The images of which the likelihood is."""
        if model.kind != "binary":
            return block.images
        return binarised(block.images, self._uniforms(block, "binarise"))

    def _training_error(self, model: Autoencoder) -> float:
        """The mean squared error of as many training images, for pixels in [-1, 1]."""
        count = min(self._settings.num, self._training.count)
        mine, pixels = [], math.prod(self._training.shape)
        for block in self._blocks(self._training, count):
            z = self._drawn(model.encode(block.images, block.labels), block)
            errors = model.squared_error(block.images, z, block.labels)
            mine.append((block.place, errors.sum().item()))
        parts = sorted(part for rank in self._world.gather(mine) for part in rank)
        return math.fsum(error for _, error in parts) / (count * pixels)

    def _frechet(
        self, model: Autoencoder, extractor: Extractor, blocks: list[_Block]
    ) -> dict[str, Value]:
        by_place = {block.place: block for block in blocks}

        def features(images: Callable[[_Block], Tensor]) -> FeatureStatistics:
            def of(numbers: range) -> Tensor:
                return images(by_place[numbers.start // BLOCK])

            return extract_all_ranks(of, self.count, extractor, self._world, keep_pixels=False)

        if self._real is None:
            self._real = features(lambda block: block.pixels)
        made = features(lambda block: _reconstructed(model, block))
        return {"reconstruction-frechet": reconstruction_frechet(self._real, made)}

    def _blocks(self, images: ImageSet, count: int) -> Iterator[_Block]:
        """This rank's."""
        world = self._world
        places = own_places(count, world)
        numbers = mixed(images, count)[places]
        pixels, labels = read_images(images, numbers)
        for place in range(world.rank, -(-count // BLOCK), world.size):
            here = among_own(range(place * BLOCK, min(count, (place + 1) * BLOCK)), world)
            mine = None
            if self._labelled and labels is not None:
                mine = labels[here].to(world.device)
            yield _Block(place, numbers[here], pixels[here].to(world.device), mine)


def _reconstructed(model: Autoencoder, block: _Block) -> Tensor:
    made = model.decode(model.encode(block.images, block.labels).mean, block.labels)
    return in_8_bits(made)
