"""The adversarial game: what the discriminator's update and the generator's minimise.

Read top to bottom: `AdversarialTerms.phases`, `discriminator_terms`, `generator_terms`. Pure
PyTorch, for one micro-batch of one process; `distgan.training.update` does the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from distgan.augment import Augmenter, NoneSettings
from distgan.config.schedule import Schedule
from distgan.families.base import Coupled, Phase, Step, Terms
from distgan.families.data import Batch
from distgan.objectives.adversarial import Loss
from distgan.objectives.penalties import (
    GRADIENT_PENALTIES,
    Penalty,
    PenaltySettings,
    squared_gradient_norms,
)

_CPU = torch.device("cpu")
_FAKE = "fake images with a graph"

STATISTICS = (
    *("d_loss", "g_loss", "d_real", "d_fake", "d_accuracy", "d_sign", "d_penalty"),
    *("d_class", "g_class"),
)
"""What is recorded: both adversarial losses; before the updates, mean D(x) and mean D(G(z)),
the share of pairs (x, G(z)) that D ranks rightly, which is 1/2 for one that cannot tell them
apart whatever the loss, and E[sign(D(x))], ADA's measure of overfitting (Karras et al. 2020);
the penalties, where one was due; and the weighted cross entropies of an auxiliary classifier."""


@dataclass(frozen=True)
class Judgement:
    """What the discriminator says of images: logits, float (n,), and logits of the classes."""

    logits: Tensor
    classes: Tensor | None = None

    @staticmethod
    def of(network: nn.Module, images: Tensor, labels: Tensor | None) -> Judgement:
        """By a network as `distgan.networks.base.DiscriminatorSettings` builds it."""
        outputs: Tensor = network(images, labels)
        outputs = outputs.float() if outputs.dtype == torch.bfloat16 else outputs
        if outputs.dim() == 1:
            return Judgement(outputs)
        return Judgement(outputs[:, 0], outputs[:, 1:])

    def halves(self) -> tuple[Judgement, Judgement]:
        """Of the first and the second half of the images."""
        classes = (None, None) if self.classes is None else self.classes.chunk(2)
        first, second = self.logits.chunk(2)
        return Judgement(first, classes[0]), Judgement(second, classes[1])

    def class_loss(self, labels: Tensor | None) -> Tensor:
        """Mean cross entropy of the classes, of which there must be some."""
        assert self.classes is not None
        assert labels is not None
        return cross_entropy(self.classes, labels)


@dataclass(frozen=True)
class AdversarialTerms:
    """The terms of a generator and a discriminator, by these roles.

    Args:
        penalty: terms added to the discriminator's loss.
        augment: what every image goes through before the discriminator sees it.
        share_fakes: give both updates the same latents, and where a batch is one micro-batch
            run the generator once for both, as Radford et al.'s code does.
        auxiliary: weight of the class logits' cross entropy (AC-GAN, Odena et al. 2017).
        top_k: share of the fakes, those the discriminator believes most, that the generator
            learns from (Sinha et al. 2020).
    """

    loss: Loss
    penalty: Penalty = Penalty(PenaltySettings(), 1, _CPU)  # noqa: RUF009
    augment: Augmenter = Augmenter(NoneSettings(), _CPU)  # noqa: RUF009
    share_fakes: bool = False
    auxiliary: float = 0.0
    top_k: Schedule = Schedule(1)  # noqa: RUF009

    def phases(self, images_seen: int, update_generator: bool = True) -> tuple[Phase, ...]:
        """Update the discriminator, then the generator against the updated discriminator."""
        share = self.share_fakes and update_generator
        discriminator = Phase(
            "discriminator",
            trains=("discriminator",),
            given=self._share_fakes if share else self._make_fakes,
            terms=self.discriminator_terms,
            coupled=self.loss.couples,
        )
        generator = Phase(
            "generator",
            trains=("generator",),
            through=("discriminator",),
            given=self._judge_reals if self.loss.relative else None,
            terms=self.generator_terms,
            coupled=self.loss.couples or self.top_k.at(images_seen) < 1,
        )
        return (discriminator, generator) if update_generator else (discriminator,)

    @torch.no_grad()
    def _make_fakes(self, step: Step, batch: Batch) -> Tensor:
        latent = batch.draws["generator"]
        if not self.share_fakes:
            latent = batch.draws["discriminator"]
        with step.autocast():
            fake: Tensor = step["generator"](latent, batch.labels)
        return fake.to(batch.columns["image"].dtype)

    def _share_fakes(self, step: Step, batch: Batch) -> Tensor:
        if step.micro_batches > 1:
            return self._make_fakes(step, batch)
        with step.autocast():
            fake: Tensor = step.with_gradients("generator")(batch.draws["generator"], batch.labels)
        step.kept[_FAKE] = fake
        return fake.detach().to(batch.columns["image"].dtype)

    def discriminator_terms(self, step: Step, batch: Batch, fake: Tensor) -> Terms:
        """The loss of logits on reals and ``fake``, penalties, and the auxiliary classes'."""
        due = self.penalty.due(step.images_seen)
        seen = DiscriminatorPass(self, step, batch, fake, due)
        real, made = seen.real.logits, seen.fake.logits
        coupled = {"d_loss": Coupled((real, made), self.loss.discriminator)}
        if step.only_coupled:
            return Terms(coupled=coupled)
        means = {}
        if not self.loss.couples:
            means, coupled = {"d_loss": self.loss.discriminator(real, made)}, {}
        weights = [self.penalty.weight(name, step.images_seen) for name in due]
        paid = [w * seen.gradient_penalty(n) for w, n in zip(weights, due, strict=True)]
        on_logits = self.penalty.on_logits(real, made, step.images_seen)
        paid += [] if on_logits is None else [on_logits]
        if paid:
            means["d_penalty"] = torch.stack(paid).sum()
        if self.auxiliary and seen.real.classes is not None:
            wrong = seen.real.class_loss(batch.labels) + seen.fake.class_loss(batch.labels)
            means["d_class"] = self.auxiliary * wrong
        with torch.no_grad():
            observed = {
                "d_real": real.sigmoid(),
                "d_fake": made.sigmoid(),
                "d_accuracy": (real > made).to(real.dtype),
                "d_sign": real.sign(),
            }

        def note(share: float) -> None:
            self.augment.observe(real)
            self.penalty.observe(real, made, share)

        return Terms(means, coupled, observed, note)

    def generator_terms(self, step: Step, batch: Batch, real: Tensor | None) -> Terms:
        """The loss of the fakes' logits, beside those of reals where it is ``relative``."""
        fake = step.kept.pop(_FAKE, None)
        labels = _reals_of_generator(batch)[1]
        with step.autocast():
            if fake is None:
                fake = step["generator"](batch.draws["generator"], labels)
        images = fake.to(batch.columns["image"].dtype)
        seen = self.augment(images, batch.draws.get("augment-generator"))
        with step.autocast():
            judged = Judgement.of(step["discriminator"], seen, labels)
        rows = (judged.logits,) if real is None else (judged.logits, real)
        share = self.top_k.at(step.images_seen)
        means: dict[str, Tensor] = {}
        coupled: dict[str, Coupled] = {}
        if self.loss.couples or share < 1:
            coupled["g_loss"] = Coupled(rows, self._of_most_believed(share))
        else:
            means["g_loss"] = self.loss.generator(*rows)
        if self.auxiliary and judged.classes is not None:
            means["g_class"] = self.auxiliary * judged.class_loss(labels)
        return Terms(means, coupled)

    @torch.no_grad()
    def _judge_reals(self, step: Step, batch: Batch) -> Tensor:
        # By the updated discriminator; they do not depend on the generator.
        images, labels, numbers = _reals_of_generator(batch)
        seen = self.augment(images, numbers)
        with step.autocast():
            return Judgement.of(step["discriminator"], seen, labels).logits

    def _of_most_believed(self, share: float) -> Callable[..., Tensor]:
        """The generator's loss of that share of a batch's fakes that D believes most."""

        def loss(fake: Tensor, real: Tensor | None = None) -> Tensor:
            best = torch.arange(len(fake), device=fake.device)
            if share < 1:
                best = fake.detach().topk(math.ceil(share * len(fake))).indices
            if real is None:
                return self.loss.generator(fake[best])
            # A relativistic average compares with all reals, pairs only with their own.
            return self.loss.generator(fake[best], real if self.loss.couples else real[best])

        return loss


def _reals_of_generator(batch: Batch) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The reals of the generator's update, their labels, and what to augment them by: those of the
    next batch where the batch has them."""
    columns, draws = batch.columns, batch.draws
    if "next-image" in columns:
        return columns["next-image"], columns.get("next-label"), draws.get("augment-next")
    return columns["image"], batch.labels, draws.get("augment-real")


class DiscriminatorPass:
    """Reals and fakes of a micro-batch as the discriminator sees and judges them.

    R1 and R2 take the gradient at the augmented images, or at the raw ones with the augmentation
    between these and the logits, by `PenaltySettings.at`.

    Args:
        fake: float (n, c, h, w), without a graph.
        due: the penalties on gradients to come.
    """

    def __init__(
        self, terms: AdversarialTerms, step: Step, batch: Batch, fake: Tensor, due: tuple[str, ...]
    ) -> None:
        self._network, self._step, self._batch = step["discriminator"], step, batch
        images = {"real": batch.columns["image"].detach(), "fake": fake.detach()}
        places = [p for p in images if any(GRADIENT_PENALTIES[n].at == p for n in due)]
        raw = terms.penalty.settings.at == "raw"
        if raw:
            for place in places:
                images[place].requires_grad_()
        seen = {p: terms.augment(images[p], batch.draws.get(f"augment-{p}")) for p in images}
        if not raw:
            images = seen = {place: augmented.detach() for place, augmented in seen.items()}
            for place in places:
                images[place].requires_grad_()
        self._images = seen
        with step.autocast(not due):
            # One pass over twice as many is faster, unless only half of it is to be
            # differentiated twice.
            joint = step.independent("discriminator") and len(places) != 1
            self.real, self.fake = self._judge_jointly() if joint else self._judge_apart()
        self._squares: dict[str, Tensor] = {}
        if places and not step.only_coupled:
            logits = torch.stack([getattr(self, place).logits for place in places])
            norms = squared_gradient_norms(logits, [images[place] for place in places])
            self._squares = dict(zip(places, norms, strict=True))

    def _judge_jointly(self) -> tuple[Judgement, Judgement]:
        labels = None if self._batch.labels is None else self._batch.labels.repeat(2)
        both = torch.cat([self._images["real"], self._images["fake"]])
        with self._step.samples("real", "fake"):
            return Judgement.of(self._network, both, labels).halves()

    def _judge_apart(self) -> tuple[Judgement, Judgement]:
        labels, step = self._batch.labels, self._step
        with step.samples("real"):
            real = Judgement.of(self._network, self._images["real"], labels)
        with step.samples("fake"):
            return real, Judgement.of(self._network, self._images["fake"], labels)

    def gradient_penalty(self, name: str) -> Tensor:
        """The mean of a penalty on gradients, without its weight."""
        at, cost, _ = GRADIENT_PENALTIES[name]
        if isinstance(at, str):
            return cost(self._squares[at]).mean()
        real, made = self._images["real"], self._images["fake"]
        images = at(real, made, self._batch.draws[f"penalty-{name}"]).detach().requires_grad_()
        logits = Judgement.of(self._network, images, self._batch.labels).logits
        return cost(squared_gradient_norms(logits, [images])[0]).mean()
