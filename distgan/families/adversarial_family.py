"""A family with discriminators: the game of each, and what it keeps.

What an update computes is in `distgan.families.adversarial`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from distgan.augment import Augmenter
from distgan.families.adversarial import AdversarialTerms, Judgement
from distgan.families.base import Family, Stateful
from distgan.families.data import Batch, DataSpec, Draw
from distgan.families.terms import Step, Terms
from distgan.objectives.adversarial import LOSSES, Loss
from distgan.objectives.penalties import Penalty
from distgan.parallel import World


class AdversarialFamily(Family):
    """A family with any number of discriminators, each of which plays a game of its own."""

    def __init__(self, config: Any, data: DataSpec, world: World) -> None:
        super().__init__(config, data, world)
        self.games = {judge: self.new_game(judge) for judge in self.judged}
        """By role of a discriminator the terms of its game, of reals in the column ``image``."""

    @property
    @abstractmethod
    def judged(self) -> Mapping[str, Sequence[int]]:
        """The discriminators by role, with the shape of what each sees: of an image (c, h, w), of a
        clip (frames, c, h, w).

        Roles are ``discriminator``, or begin with that: what follows ends the names of its draws.
        """

    def settings_of(self, judge: str) -> Any:
        """What the configuration says of a discriminator: its augmentation, penalty and so on."""
        return self.config.discriminator  # type: ignore[attr-defined]

    @property
    def loss(self) -> Loss:
        """Of every game."""
        return LOSSES[self.config.loss]  # type: ignore[attr-defined]

    def new_game(self, judge: str) -> AdversarialTerms:
        """The terms of one discriminator."""
        settings = self.settings_of(judge)
        return AdversarialTerms(
            self.loss,
            Penalty(settings.penalty, self.config.batch, self.world.device),
            Augmenter(settings.augment, self.world.device),
            judge=judge,
        )

    def draws(self) -> dict[str, Draw]:
        """What augmentations and penalties of each discriminator use up."""
        found = {}
        for judge, shape in self.judged.items():
            settings, of = self.settings_of(judge), _suffix(judge)
            size = settings.augment.numbers
            for use in ("real", "fake", "generator") if size else ():
                found[f"augment-{use}{of}"] = Draw("uniform", size)
            for name, numbers in settings.penalty.numbers(shape).items():
                found[f"penalty-{name}{of}"] = Draw("uniform", numbers)
        return found

    def batch_of(self, batch: Batch, reals: Tensor, judge: str = "discriminator") -> Batch:
        """A batch as the terms of one discriminator want it: its reals, and its draws."""
        of = _suffix(judge)
        draws = {
            name.removesuffix(of): numbers
            for name, numbers in batch.draws.items()
            if name.endswith(of)
        }
        return replace(batch, columns={"image": reals}, draws=draws)

    def judge_reals(self, step: Step, batch: Batch, judge: str = "discriminator") -> Tensor:
        """Logits of the reals in a `batch_of` a discriminator, for the generator's update."""
        with torch.no_grad():
            reals = batch.columns["image"]
            return self.judge(step, batch, reals, "real", judge).logits

    def generator_terms(
        self,
        step: Step,
        batch: Batch,
        made: Tensor,
        real: Tensor | None,
        judge: str = "discriminator",
    ) -> Terms:
        """What a discriminator's judgement of the generator's images adds to its loss: ``g_loss``.

        Args:
            batch: see `batch_of`.
            made: as the discriminator sees them, float (n, c, h, w).
            real: of `judge_reals` for a ``relative`` loss, else None.
        """
        found = self.judge(step, batch, made, "generator", judge)
        return self.games[judge].terms_of_judged(step, batch.labels, [found], real)

    def judge(
        self, step: Step, batch: Batch, images: Tensor, place: str, judge: str = "discriminator"
    ) -> Judgement:
        """What a discriminator says of images, after their augmentation.

        Args:
            batch: see `batch_of`.
            place: whose images they are: see `AdversarialTerms.given`.
        """
        game = self.games[judge]
        seen = game.augment(images, batch.draws.get(f"augment-{place}"))
        with step.autocast():
            return Judgement.of(step[judge], seen, *game.given(batch, place))

    def extra_state(self) -> dict[str, Stateful]:
        """LeCam's running means, and the probability of an adaptive augmentation."""
        found: dict[str, Stateful] = {}
        for judge, game in self.games.items():
            of = _suffix(judge)
            found[f"penalty{of}"] = game.penalty
            if game.augment.adaptation is not None:
                found[f"augment{of}"] = game.augment.adaptation
        return found

    def before_step(self, images_seen: int) -> None:
        """Follow the schedule of the augmentation's probability."""
        for game in self.games.values():
            game.augment.follow_schedule(images_seen)

    def after_step(self, networks: Mapping[str, nn.Module]) -> None:
        """Move running means and the augmentation's probability, clamp weights."""
        for judge, game in self.games.items():
            game.penalty.after_update(networks[judge], self.world)
            if game.augment.adaptation is not None:
                game.augment.adaptation.move(self.config.batch, self.world)

    @property
    def lazy_interval(self) -> int:
        """Images between two penalties on gradients."""
        return max((self.settings_of(judge).penalty.every for judge in self.judged), default=0)

    def gauges(self) -> dict[str, float]:
        """The probability of an adaptive augmentation."""
        adaptations = {judge: game.augment.adaptation for judge, game in self.games.items()}
        return {
            f"augment_p{_suffix(judge)}": each.probability.item()
            for judge, each in adaptations.items()
            if each is not None
        }

    def health_signs(self, images_seen: int) -> dict[str, float]:
        """The share of its highest rate that G learns with, and whether D(x) is a probability."""
        rate = self.config.generator.optimizer.lr  # type: ignore[attr-defined]
        return {
            "g_rate": rate.at(images_seen) / max(*rate.values, 1e-30),
            "probability": float(self.loss.probability),
        }


def _suffix(judge: str) -> str:
    return judge.removeprefix("discriminator")
