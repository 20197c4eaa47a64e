"""A trained model that is ready to generate, with the same bits whatever is asked for beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from distgan.config.shape import ImageShape
from distgan.errors import UserError, brief, listed
from distgan.families import Family
from distgan.families.data import Batch, Draw, drawn
from distgan.networks.random import has_random_layers

Label = int | str
"""A label by its number or its name."""

_MOST_DIGITS = 9
"""Of the number of a label; Python refuses to read texts of thousands of digits."""


@dataclass(frozen=True)
class LoadedGenerator:
    """Networks ready to generate, on the CPU and in eval mode.

    Attributes:
        networks: by role; those that generating does not need may be missing.
        classes: names of the labels; empty for a model that takes none.
    """

    family: Family
    networks: Mapping[str, nn.Module]
    images_seen: int
    noun: ClassVar[str] = "images"
    """What it makes, in a word."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels; empty for a model that takes none."""
        return self.family.data.classes if self.family.labels else ()

    @property
    def image(self) -> ImageShape:
        """The shape of an image."""
        return self.family.data.image

    @property
    def inputs(self) -> Mapping[str, Draw]:
        """The draws that `images` are made of, by name."""
        return self.family.inputs()

    @property
    def network(self) -> nn.Module:
        """The network that generates, or the first of several."""
        return next(iter(self.networks.values()))

    def sample(
        self,
        num: int | range,
        *,
        seed: int = 0,
        label: Label | Sequence[Label] | None = None,
        truncation: float | None = None,
    ) -> Tensor:
        """Generate images. Image i of a seed is always the same, to the bit.

        Args:
            num: how many, from image 0 on, or the numbers of the images as a range of step 1.
            label: one or several, by name or number; images take turns through them, image i
                with the one of place i modulo their number. None for all that there are.
            truncation: see `latents`.

        Returns:
            float32 (num, channels, height, width) in [-1, 1].

        Raises:
            UserError: for a label that the model does not have.
        """
        wanted = range(num) if isinstance(num, int) else num
        numbers = torch.arange(wanted.start, wanted.stop)
        chosen = self.label_numbers(label)
        labels = torch.tensor(chosen)[numbers % len(chosen)] if chosen else None
        latents = self.latents(wanted, seed, truncation)
        return self.images(latents, labels, seed=seed, numbers=numbers)

    def sample_seeds(
        self,
        seeds: Sequence[int],
        *,
        label: Label | Sequence[Label] | None = None,
        truncation: float | None = None,
    ) -> Tensor:
        """The first image of every seed; of a conditional model one for each label in turn.

        The image of a seed and label is always the same, to the bit, and that of
        ``sample(1, seed=seed, label=label)``.

        Args:
            label: as for `sample`.
            truncation: see `latents`.

        Returns:
            float32 (seeds x labels, channels, height, width) in [-1, 1], seed after seed.

        Raises:
            UserError: for a label that the model does not have.
        """
        chosen = self.label_numbers(label)
        each = max(1, len(chosen))
        rows = [self.latents(1, seed, truncation) for seed in seeds]
        # Networks that draw noise draw it by the seed, so theirs are made one after another.
        together = 1 if any(map(has_random_layers, self.networks.values())) else len(rows)
        parts = [torch.empty(0, *self.shape)]
        for start in range(0, len(rows), max(1, together)):
            mine = rows[start : start + together]
            latents = {
                name: torch.cat([row[name] for row in mine]).repeat_interleave(each, 0)
                for name in mine[0]
            }
            labels = torch.tensor(chosen).repeat(len(mine)) if chosen else None
            parts.append(self.images(latents, labels, seed=seeds[start]))
        return torch.cat(parts)

    def label_numbers(self, label: Label | Sequence[Label] | None = None) -> list[int]:
        """The numbers of labels that are given by name or number; empty without labels.

        A text that is the name of a label means that one, also where it is a number. None
        means all labels.

        Raises:
            UserError: for a label that the model does not have.
        """
        if label is None:
            return list(range(len(self.classes)))
        given = [label] if isinstance(label, int | str) else list(label)
        return [self._label_number(each) for each in given]

    def _label_number(self, label: Label) -> int:
        if not self.classes:
            raise UserError(f"--label {brief(label)}: this generator takes no labels; leave it out")
        if label in self.classes:
            return self.classes.index(str(label))
        text = str(label)
        number = int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else -1
        label = number if number >= 0 else label
        if not 0 <= number < len(self.classes):
            names = "" if self.classes[0] == "0" else f": {listed(self.classes, 5)}"
            raise UserError(
                f"--label {brief(label)}: this generator has labels 0 to "
                f"{len(self.classes) - 1}{names}"
            )
        return number

    def latents(
        self, num: int | range, seed: int = 0, truncation: float | None = None
    ) -> dict[str, Tensor]:
        """The random inputs of images: float32 (num, size) by name.

        Those of image i are a function of the seed and of i alone.

        Args:
            num: as for `sample`.
            truncation: the largest absolute value c of a normal number. Each z becomes
                Phi^-1(Phi(-c) + Phi(z) (2 Phi(c) - 1)), which keeps the order and changes
                continuously with c, so that image i stays image i (BigGAN resamples instead:
                Brock et al. 2019, section 3.1). None for no truncation.

        Raises:
            UserError: for a seed of more than 64 bits, or a truncation that is not positive.
        """
        if not -(2**63) <= seed < 2**63:
            raise UserError(f"--seed {brief(seed)}: should be a number of up to 18 digits")
        if truncation is not None and not truncation > 0:
            raise UserError(f"--truncation {truncation}: should be above 0, such as 1 or 0.5")
        found = drawn(self.inputs, seed, "sample", range(num) if isinstance(num, int) else num)
        for name, wanted in self.inputs.items():
            if wanted.kind == "normal" and truncation is not None:
                found[name] = truncated(found[name], truncation)
        return found

    @torch.no_grad()
    def images(
        self,
        latents: Mapping[str, Tensor],
        labels: Tensor | None = None,
        *,
        seed: int = 0,
        numbers: Tensor | None = None,
    ) -> Tensor:
        """Images of given inputs, each the same bits whatever others are asked for beside it.

        Networks run on blocks of one fixed shape, the last of them filled up: a kernel that is
        chosen by the shape of its input is then the same for every image.

        Args:
            latents: float (n, size) by name, as `latents` gives them.
            labels: int64 (n,) for a conditional model.
            seed: of layers that draw noise.
            numbers: int64 (n,), which noise each image gets; None for the same for all.

        Returns:
            float32 (n, channels, height, width) in [-1, 1].
        """
        num = len(next(iter(latents.values()))) if latents else 0
        numbers = torch.zeros(num, dtype=torch.int64) if numbers is None else numbers
        block, parts = self.block, []

        def part(values: Tensor) -> Tensor:
            return filled(values[start:][:block], block)

        for start in range(0, num, block):
            columns = {} if labels is None else {"label": part(labels)}
            draws = {name: part(z) for name, z in latents.items()}
            made = self.make(Batch(columns, draws, numbers=part(numbers)), seed)
            parts.append(made[: min(block, num - start)].float())
        return torch.cat(parts) if parts else torch.empty(0, *self.shape)

    @property
    def block(self) -> int:
        """How many are made at once."""
        return BLOCK

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one that is made."""
        return self.image

    def make(self, batch: Batch, seed: int) -> Tensor:
        """Of a whole block of inputs; the ``seed`` is of layers that draw noise."""
        return self.family.images(self.networks, batch, seed, "sample")


BLOCK = 64
"""Images of a block that is generated at once."""


def filled(values: Tensor, block: int = BLOCK) -> Tensor:
    """A block of full length, the rest of it repeats of the first row."""
    missing = block - len(values)
    return torch.cat([values, values[:1].expand(missing, *values.shape[1:])]) if missing else values


def truncated(z: Tensor, most: float) -> Tensor:
    """Normal numbers mapped monotonically into [-most, most]; float64 inside."""
    low = torch.special.ndtr(torch.tensor(-most, dtype=torch.float64))
    share = low + torch.special.ndtr(z.double()) * (1 - 2 * low)
    found: Tensor = torch.special.ndtri(share).clamp(-most, most).to(z.dtype)
    return found
