"""A trained model with an encoder: images to latent vectors and back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from distgan import draws
from distgan.errors import UserError
from distgan.families.autoencoder import Autoencoder
from distgan.networks.vae import Posterior
from distgan.runs.generator import BLOCK, LoadedGenerator, filled


class LoadedAutoencoder(LoadedGenerator):
    """A `LoadedGenerator` that also encodes.

    All networks run on blocks of one fixed shape, so that image i gives the same bits whatever
    others are in the call.
    """

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Posterior:
        """The posterior q(z|x), a diagonal Gaussian.

        Args:
            images: float (n, channels, height, width) in [-1, 1].
            labels: int64 (n,) for a conditional model.

        Returns:
            mean and log variance, float32 (n, latent) each.

        Raises:
            UserError: for images or labels of another shape, type or range.
        """
        self._check(images, (len(images), *self.image), "images")
        if images.numel() and not (images.min() >= -1 and images.max() <= 1):
            raise UserError("images: should be within [-1, 1], as `sample` gives them")
        mean, log_variance = self._in_blocks(
            lambda x, y: torch.cat(self._model.encode(x, y), 1), images, labels
        ).chunk(2, 1)
        return Posterior(mean, log_variance)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """E[x|z], the mean of the decoder's distribution.

        Args:
            z: float (n, latent).
            labels: int64 (n,) for a conditional model.

        Returns:
            float32 (n, channels, height, width) in [-1, 1].

        Raises:
            UserError: for latent vectors or labels of another shape or type.
        """
        self._check(z, (len(z), self._model.latent), "z")
        return self._in_blocks(self._model.decode, z, labels)

    def reconstruct(
        self, images: Tensor, labels: Tensor | None = None, *, sample: bool = False, seed: int = 0
    ) -> Tensor:
        """Images by way of z: its mean, or with ``sample`` a draw of q(z|x).

        Args:
            images: as `encode` takes them.
            labels: int64 (n,) for a conditional model.
            seed: of the draws; image i has the i-th.

        Returns:
            float32 (n, channels, height, width) in [-1, 1].

        Raises:
            UserError: as `encode`.
        """
        mean, log_variance = self.encode(images, labels)
        if not sample:
            return self.decode(mean, labels)
        noise = draws.normals(seed, "reconstruct", [range(len(mean))], mean.shape[1])
        return self.decode(mean + (log_variance / 2).exp() * torch.from_numpy(noise), labels)

    @property
    def _model(self) -> Autoencoder:
        model = self.family.autoencoder(self.networks)
        assert model is not None, "see Family.encodes"
        return model

    def _in_blocks(
        self, function: Callable[..., Tensor], rows: Tensor, labels: Tensor | None
    ) -> Tensor:
        """A function of rows and labels, on blocks of one shape, the last of them filled up."""
        if bool(self.classes) != (labels is not None):
            wants = f"one of {len(self.classes)} labels for each" if self.classes else "none"
            raise UserError(f"labels: this model takes {wants}")
        if labels is not None:
            self._check_labels(labels, len(rows))
        parts = []
        # A block of no rows says how long the result's rows are.
        for start in range(0, max(1, len(rows)), BLOCK):
            block = rows[start : start + BLOCK].float()
            if not len(block):
                block = rows.new_zeros(1, *rows.shape[1:])
            mine = None
            if labels is not None:
                mine = filled(labels[start : start + BLOCK] if len(rows) else labels.new_zeros(1))
            made = function(filled(block), mine)
            parts.append(made[: min(BLOCK, len(rows) - start)].float())
        return torch.cat(parts)

    def _check_labels(self, labels: Tensor, count: int) -> None:
        whole = labels.dtype == torch.int64 and labels.shape == (count,)
        if not whole or (count and not 0 <= labels.min() <= labels.max() < len(self.classes)):
            raise UserError(
                f"labels: should be int64 ({count},), each from 0 to {len(self.classes) - 1}"
            )

    @staticmethod
    def _check(values: Tensor, shape: tuple[int, ...], name: str) -> None:
        if not values.is_floating_point() or values.shape != shape:
            found = f"{str(values.dtype).removeprefix('torch.')} {tuple(values.shape)}"
            wanted = ", ".join(["n", *map(str, shape[1:])])
            raise UserError(f"{name}: should be float ({wanted}), and is {found}")
