"""A trained model that makes images of images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn.functional import pad

from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.families.data import Batch
from distgan.families.translation import Translation
from distgan.networks.random import SampleDropout, sample_numbers
from distgan.networks.translation import multiple_of
from distgan.runs.generator import Label, LoadedGenerator

_MOST_ROWS, _MOST_PIXELS = 64, 1 << 16
"""Images, and pixels, of a block that is translated at once: 64 of 28x28, one of 256x256."""
_SHORTEST = 8
"""Pixels of a side whose border can be reflected behind two halvings."""


class LoadedTranslator(LoadedGenerator):
    """Networks ready to translate, on the CPU and in eval mode.

    One rule holds wherever outputs are made: batch norm takes the running statistics of the
    training, and nothing is dropped unless that is asked for. (The code of pix2pix translates in
    the mode of training, where an output depends on its batch and on chance.)
    """

    @property
    def translation(self) -> Translation:
        """The family, as what it is."""
        assert isinstance(self.family, Translation), "see distgan.runs.export"
        return self.family

    @property
    def input_shape(self) -> ImageShape:
        """Of the images that the model was trained to translate."""
        return self.translation.input_shape

    @property
    def output_shape(self) -> ImageShape:
        """Of what they become."""
        return self.translation.output_shape

    @property
    def multiple(self) -> int:
        """What the sides of inputs are multiples of; 0 for a model of one size only."""
        found = [multiple_of(network) for network in self.networks.values()]
        return max(found) if all(found) else 0

    @torch.no_grad()
    def translate(
        self,
        images: Tensor,
        reverse: bool = False,
        *,
        dropout: int | None = None,
        numbers: Sequence[int] | None = None,
    ) -> Tensor:
        """The output for each input, the same bits whatever others are in the call.

        Networks run on blocks of one fixed shape, the last of them filled up.

        Args:
            images: float (n, c, h, w) in [-1, 1], of `input_shape`, or of other sides that are
                multiples of `multiple`. (Statistics of instance norm are those of the whole
                image, whatever its size.)
            reverse: the other way round, from `output_shape` to `input_shape`; of models that
                learned both.
            dropout: seed of what dropout layers drop, as in training; None for nothing.
            numbers: which mask each image gets; by default 0 to n - 1.

        Returns:
            float32 (n, c', h', w') in [-1, 1].

        Raises:
            UserError: for images of another shape, type or range, for ``reverse`` of a model
                that learned one way, and for ``dropout`` of one without such layers.
        """
        self._check(images, self.output_shape if reverse else self.input_shape)
        rows = max(1, min(_MOST_ROWS, _MOST_PIXELS // (images.shape[2] * images.shape[3])))
        places = torch.arange(len(images)) if numbers is None else torch.tensor(list(numbers))
        parts = []
        # A block of no rows says what the shape of the result is.
        for start in range(0, max(1, len(images)), rows):
            block, mine = images[start : start + rows].float(), places[start : start + rows]
            missing = rows - len(block)
            block = torch.cat([block, block.new_zeros(missing, *block.shape[1:])])
            mine = torch.cat([mine, mine.new_zeros(missing)])
            with self._dropping(dropout, mine):
                made = self.translation.translate(self.networks, block, reverse)
            parts.append(made[: rows - missing].float())
        return torch.cat(parts)

    def translate_any(
        self,
        images: Tensor,
        reverse: bool = False,
        *,
        dropout: int | None = None,
        numbers: Sequence[int] | None = None,
    ) -> Tensor:
        """`translate` of images of any sides.

        They are filled up to sides that the networks take, by repeats of the last column and row,
        and what this adds to outputs is cut off.

        Args:
            images: float (n, c, h, w) in [-1, 1].

        Returns:
            float32 (n, c', h', w') in [-1, 1], as much larger as outputs are than inputs.

        Raises:
            UserError: as `translate`, and for a model that takes images of one size only.
        """
        if not self.multiple:
            raise UserError(
                f"--full-size: this model takes images of {self.input_shape} only; leave it out"
            )
        given, made = self.input_shape, self.output_shape
        height, width = images.shape[2:]
        right, below = (self._missing(side) for side in (width, height))
        filled = pad(images, (0, right, 0, below), mode="replicate")
        found = self.translate(filled, reverse, dropout=dropout, numbers=numbers)
        scale = 1 if reverse else made.height // given.height
        return found[:, :, : height * scale, : width * scale]

    def _missing(self, side: int) -> int:
        least = -(-_SHORTEST // self.multiple) * self.multiple
        return max(least, -(-side // self.multiple) * self.multiple) - side

    def example(self, images: Tensor, pairs: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Inputs, and the targets where they are known, of images as the run's set holds them.

        A model of a task makes its inputs from the images; one of stored pairs, or of two sets,
        takes those of the side that it translates.

        Args:
            images: float (n, c, h, w) in [-1, 1].
            pairs: their stored partners, where there are such.
        """
        columns = {"image": images, "other": images}
        if pairs is not None:
            columns["pair"] = pairs
        return self.translation.example(Batch(columns, {}))

    def latents(
        self, num: int | range, seed: int = 0, truncation: float | None = None
    ) -> dict[str, Tensor]:
        """None, as images are not made of latent vectors.

        Raises:
            UserError: always.
        """
        self._refuse()

    def images(
        self,
        latents: Mapping[str, Tensor],
        labels: Tensor | None = None,
        *,
        seed: int = 0,
        numbers: Tensor | None = None,
    ) -> Tensor:
        """None: see `latents`.

        Raises:
            UserError: always.
        """
        self._refuse()

    def label_numbers(self, label: Label | Sequence[Label] | None = None) -> list[int]:
        """None: see `latents`.

        Raises:
            UserError: always.
        """
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UserError(
            f"RUN: a model of the family {self.family.config.family} makes images of images, not "
            "of latent vectors; use `distgan translate RUN INPUT`"
        )

    @contextlib.contextmanager
    def _dropping(self, seed: int | None, numbers: Tensor) -> Iterator[None]:
        layers = [
            layer
            for network in self.networks.values()
            for layer in network.modules()
            if isinstance(layer, SampleDropout) and layer.p
        ]
        if seed is None:
            yield
            return
        if not layers:
            raise UserError(f"--dropout {seed}: this model drops nothing; leave it out")
        for layer in layers:
            layer.train()
        try:
            with sample_numbers(seed, "translate", numbers):
                yield
        finally:
            for layer in layers:
                layer.eval()

    def _check(self, images: Tensor, wanted: ImageShape) -> None:
        if not images.is_floating_point() or images.shape[1:2] != wanted[:1] or images.dim() != 4:
            found = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            raise UserError(
                f"images: should be float (n, {', '.join(map(str, wanted))}), are {found}"
            )
        sides, multiple = tuple(images.shape[2:]), self.multiple
        fit = multiple and not any(side % multiple or side < _SHORTEST for side in sides)
        if sides != wanted[1:] and not fit:
            other = f" or other multiples of {multiple}" if multiple else ""
            raise UserError(
                f"images: have sides of {sides[0]}x{sides[1]}; this model takes "
                f"{wanted.height}x{wanted.width}{other}"
            )
        if images.numel() and not (images.min() >= -1 and images.max() <= 1):
            raise UserError("images: should be within [-1, 1]")
