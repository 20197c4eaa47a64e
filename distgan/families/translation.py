"""What families that make images of images share: the two sides, the patches, the sheet.

A is one domain of images and B another. A family learns to make the image of one side, the
*output*, of one of the other, the *input*; of a paired family the *target* is what the output
should be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.families.adversarial_family import AdversarialFamily
from distgan.families.base import SHEET_WIDTH, Interface, Network
from distgan.families.data import Batch, Column, DataSpec, Draw
from distgan.families.measured import MeasuredTranslation
from distgan.families.tasks import TASKS, Task
from distgan.families.translation_config import TranslationConfig
from distgan.health.diagnosis import ADVERSARIAL, Rule
from distgan.objectives.adversarial import LOSSES, Loss
from distgan.parallel import World

_MOST_PIXELS = 1 << 20
"""Pixels of a block that is translated at once, on the larger side: 16 images of 256x256. Runs on
such images train on batches of one, and should not need more memory to look at what they do."""


class Sides(NamedTuple):
    """Images of both sides of a batch: float (n, c, h, w) each, in [-1, 1]."""

    input: Tensor
    target: Tensor


def published_measure(name: str) -> Loss:
    """An adversarial loss in the measure of pix2pix's and CycleGAN's code.

    There the discriminator's is the mean of a term of reals and one of fakes (Isola et al. 2017,
    section 3.3), and the generator's is a term like one of these. Weights of other terms, such as
    100 for L1, are relative to that.
    """
    loss = LOSSES[name]
    # `least_squares_*` have the 1/2 of Mao et al. in both.
    of_discriminator, of_generator = (1.0, 2.0) if name == "least-squares" else (0.5, 1.0)

    def discriminator(real: Tensor, fake: Tensor) -> Tensor:
        return of_discriminator * loss.discriminator(real, fake)

    def generator(*rows: Tensor) -> Tensor:
        value: Tensor = of_generator * loss.generator(*rows)
        return value

    return replace(loss, discriminator=discriminator, generator=generator)


class Translation(AdversarialFamily, MeasuredTranslation):
    """A family whose generators make images of images."""

    translates: ClassVar[bool] = True

    def __init__(self, config: TranslationConfig, data: DataSpec, world: World) -> None:
        self._task = TASKS.get(getattr(config, "task", ""))
        super().__init__(config, data, world)
        self._derived: tuple[Tensor, Tensor] | None = None

    @property
    def _sides(self) -> tuple[ImageShape, ImageShape]:
        """The shapes of A and B."""
        image = self.data.image
        if self._task is not None:
            return self._task.shape(image, self.scale), image
        other = self.data.pair if self.paired else self.data.other
        # Without the other set there is an error before there are networks: see `check_data`.
        return image, other or image

    @property
    def input_shape(self) -> ImageShape:
        """Of what is translated."""
        return self._sides[self.config.direction == "BtoA"]

    @property
    def output_shape(self) -> ImageShape:
        """Of what it becomes."""
        return self._sides[self.config.direction == "AtoB"]

    def check_data(self) -> None:
        """See that there are two sides.

        Raises:
            UserError: naming the setting that wants a side which the data has not.
        """
        super().check_data()
        if self._task is not None:
            self._task.shape(self.data.image, self.scale)
        elif self.paired and self.data.pair is None:
            tasks = ", ".join(TASKS)
            raise UserError(
                f"--data {self.config.data}: holds no pairs, which --task pairs learns from; make "
                "a set with `distgan data prepare --pairs`, or have the input made from each image "
                f"by another --task: {tasks}"
            )
        elif not self.paired and self.data.other is None:
            raise UserError(
                "--data_b: names no set; --task sets learns from two, --data and --data_b"
            )

    def columns(self) -> dict[str, Column]:
        """The images, and the pair or the images of the other set."""
        found = {"image": Column("image")}
        if not self.paired:
            found["other"] = Column("image", second=True)
        elif self._task is None:
            found["pair"] = Column("pair")
        return found

    def sides(self, batch: Batch) -> Sides:
        """Inputs and targets of a batch; of an unpaired one the target side's own images."""
        columns = batch.columns
        images = columns["image"]
        if self._task is None:
            a, b = images, columns["pair" if self.paired else "other"]
        else:
            a, b = self._derive(self._task, images), columns.get("other", images)
        return Sides(a, b) if self.config.direction == "AtoB" else Sides(b, a)

    def _derive(self, task: Task, images: Tensor) -> Tensor:
        # Once for a batch, whose terms ask several times, and in both phases.
        if self._derived is None or self._derived[0] is not images:
            self._derived = images, task.make(images, self.scale)
        return self._derived[1]

    def example(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Inputs of held-out rows, and their targets where these are known."""
        if self._task is not None:
            columns = {"image": batch.columns["image"]}
            return self.sides(replace(batch, columns=columns))
        if not self.paired:
            reverse = self.config.direction == "BtoA"
            return batch.columns["other" if reverse else "image"], None
        return self.sides(batch)

    @property
    def judged(self) -> Mapping[str, ImageShape]:
        """The discriminators by role, with the shape of what each sees."""
        return {"discriminator": self.output_shape}

    @property
    def loss(self) -> Loss:
        """Of every game, in the published measure."""
        return published_measure(self.config.loss)

    def new_discriminator(self, judge: str = "discriminator") -> Network:
        """One of `judged`, ready to be trained."""
        settings, shape = self.config.discriminator, self.judged[judge]
        example = (torch.zeros(1, *shape), None)
        module = settings.network.build(shape)
        return Network(module, example, settings.optimizer, settings.clip_norm)

    def new_generator(self, given: ImageShape, made: ImageShape) -> Network:
        """A generator of images of one shape from those of another, ready to be trained."""
        settings = self.config.generator
        average = None if settings.ema.half_life.is_zero else settings.ema
        return Network(
            settings.network.build(given, made),
            (torch.zeros(1, *given),),
            settings.optimizer,
            settings.clip_norm,
            average=average,
        )

    @property
    def averaged(self) -> tuple[str, ...]:  # type: ignore[override]
        """The generators, where an average is kept."""
        return () if self.config.generator.ema.half_life.is_zero else tuple(self.generators)

    def reversed(self) -> Translation:
        """The same the other way round, for the same networks.

        Raises:
            UserError: for a family that learns one way only.
        """
        self._check_both_ways()
        opposite: Literal["AtoB", "BtoA"] = "AtoB" if self.config.direction == "BtoA" else "BtoA"
        return type(self)(replace(self.config, direction=opposite), self.data, self.world)

    def _check_both_ways(self) -> None:
        if len(self.generators) < 2:
            raise UserError(
                f"--reverse: a model of the family {self.config.family} translates one way only; "
                "train one with --direction BtoA, or a cyclegan"
            )

    def translate(
        self, networks: Mapping[str, nn.Module], images: Tensor, reverse: bool = False
    ) -> Tensor:
        """The output for each input: float (n, c, h, w) in [-1, 1] both.

        Args:
            networks: by role, in eval mode.
            reverse: the other way round, by the generator of inputs.

        Raises:
            UserError: for ``reverse`` of a family that learns one way only.
        """
        if reverse:
            self._check_both_ways()
        network = networks[self.generators[reverse]]
        larger = max(shape.height * shape.width for shape in (self.input_shape, self.output_shape))
        own = self.output_shape if reverse else self.input_shape
        pixels = images.shape[2] * images.shape[3] * larger // (own.height * own.width)
        blocks = torch.split(images, max(1, _MOST_PIXELS // pixels))
        return torch.cat([network(block) for block in blocks])

    def health_rules(self) -> tuple[Rule, ...]:
        """Those of every family, and with one discriminator a stalled generator and a winner."""
        usual = (*super().health_rules(), *(ADVERSARIAL if len(self.games) == 1 else ()))
        return self.of_translation(usual)

    def inputs(self) -> dict[str, Draw]:
        """None: what is generated depends on images alone."""
        return {}

    @property
    def input_columns(self) -> tuple[str, ...]:
        """Columns of the data that `generate` makes images of."""
        if self._task is not None:
            return ("image",)
        return ("image", "pair") if self.paired else tuple(self.columns())

    def generate(self, networks: Mapping[str, nn.Module], batch: Batch) -> Tensor:
        """The outputs for the inputs of a batch, float (n, c, h, w)."""
        return self.translate(networks, self.example(batch)[0])

    @property
    def sheet_columns(self) -> tuple[str, ...]:
        """Columns of the held-out rows that `sheet` shows."""
        return self.input_columns

    @property
    def sheet_rows(self) -> tuple[str, ...]:
        """What the rows of the sheet are, which repeat in this order."""
        known = self._task is not None or self.paired
        return ("input", "output", "target") if known else ("input", "output")

    def sheet(
        self, networks: Mapping[str, nn.Module], seed: int, shown: Batch | None = None
    ) -> tuple[Tensor, int]:
        """Rows of inputs, outputs and, where they are known, targets of the same held-out images.

        All are shown as large as the largest and in colour if any is.
        """
        if shown is None:
            raise ValueError("a sheet of translations needs images: see `sheet_columns`")
        like = next(networks[self.generators[0]].parameters())
        columns = {name: rows.to(like) for name, rows in shown.columns.items()}
        given, target = self.example(replace(shown, columns=columns))
        kinds = self.shown(networks, given, target)
        size = tuple(max(kind.shape[side] for kind in kinds) for side in (2, 3))
        channels = max(kind.shape[1] for kind in kinds)
        alike = [_as_large(kind, size).expand(-1, channels, -1, -1) for kind in kinds]
        parts = zip(*(torch.split(kind, SHEET_WIDTH) for kind in alike), strict=True)
        return torch.cat([rows for part in parts for rows in part]), SHEET_WIDTH

    def shown(
        self, networks: Mapping[str, nn.Module], given: Tensor, target: Tensor | None
    ) -> list[Tensor]:
        """The images of a sheet by kind, as `sheet_rows` names them: float (n, c, h, w) each."""
        return [given, self.translate(networks, given), *(() if target is None else (target,))]

    def interfaces(self) -> dict[str, Interface]:
        """The generator, from images to images, and the discriminator, from images to logits."""
        generator = Interface({"images": list(self.input_shape)}, "images", generates=True)
        seen = {
            judge: Interface({"images": list(shape)}, "logits of patches")
            for judge, shape in self.judged.items()
        }
        return {self.generators[0]: generator, **seen}


def _as_large(images: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return interpolate(images, size=tuple(size), mode="nearest")
