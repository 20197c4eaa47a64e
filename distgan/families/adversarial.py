"""The adversarial game: what the discriminator's update and the generator's minimise.

Read top to bottom: `AdversarialTerms.phases`, `discriminator_terms`, `generator_terms`. Pure
PyTorch, for one micro-batch of one process; `distgan.training.update` does the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from distgan.augment import Augmenter, NoneSettings
from distgan.config.schedule import Schedule
from distgan.families.data import Batch
from distgan.families.terms import Coupled, Phase, Step, Terms
from distgan.objectives.adversarial import Loss
from distgan.objectives.penalties import (
    GRADIENT_PENALTIES,
    Penalty,
    PenaltySettings,
    squared_gradient_norms,
)

_CPU = torch.device("cpu")
_FAKE = "fake images with a graph"

Fakes = Mapping[str, Tensor]
"""Images of the generator by kind, float (n, c, h, w) each."""

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
    """What the discriminator says of images: logits, float (n,), and logits of the classes.

    Of a discriminator that judges patches, logits are float (n, patches), and those of the classes
    are means over patches.
    """

    logits: Tensor
    classes: Tensor | None = None

    @staticmethod
    def of(network: nn.Module, images: Tensor, *given: Tensor | None) -> Judgement:
        """By a network as `distgan.networks.base.DiscriminatorSettings` builds it.

        Args:
            given: what it takes besides the images: see `AdversarialTerms.given`.
        """
        return Judgement.of_outputs(network(images, *given))

    @staticmethod
    def of_outputs(outputs: Tensor) -> Judgement:
        """Of what such a network gave."""
        outputs = outputs.float() if outputs.dtype == torch.bfloat16 else outputs
        if outputs.dim() == 1:
            return Judgement(outputs)
        if outputs.dim() >= 4 and outputs.shape[1] == 1:
            return Judgement(outputs.flatten(1))
        if outputs.dim() >= 4:
            classes = outputs[:, 1:].flatten(2).mean(2)
            return Judgement(outputs[:, 0].flatten(1), classes)
        return Judgement(outputs[:, 0], outputs[:, 1:])

    @property
    def score(self) -> Tensor:
        """D(x) as penalties on its gradient take it, float (n,): of patches the mean, as in the
        losses."""
        return self.logits if self.logits.dim() == 1 else self.logits.mean(1)

    def parts(self, count: int) -> list[Judgement]:
        """Of that many equal parts of the images, in their order."""
        classes = [None] * count if self.classes is None else self.classes.chunk(count)
        return list(map(Judgement, self.logits.chunk(count), classes))

    def class_loss(self, labels: Tensor | None) -> Tensor:
        """Mean cross entropy of the classes, of which there must be some."""
        assert self.classes is not None
        assert labels is not None
        return cross_entropy(self.classes, labels)


def _labels(batch: Batch, place: str) -> tuple[Tensor | None, ...]:
    return (batch.labels,)


@dataclass(frozen=True)
class AdversarialTerms:
    """The terms of a generator and a discriminator, by these roles unless another is named.

    There may be several kinds of fakes, each with an image for every sample, and by the name that
    the draws of its augmentation end with. Then losses are the mean over kinds, so that fakes of
    all kinds together count as much as the reals.

    Args:
        penalty: terms added to the discriminator's loss.
        augment: what every image goes through before the discriminator sees it.
        share_fakes: give both updates the same latents, and where a batch is one micro-batch
            run the generator once for both, as Radford et al.'s code does.
        auxiliary: weight of the class logits' cross entropy (AC-GAN, Odena et al. 2017).
        classes_of_fakes: whether the discriminator learns the classes of fakes too, as in AC-GAN,
            or those of reals alone.
        top_k: share of the fakes, those the discriminator believes most, that the generator
            learns from (Sinha et al. 2020).
        watch: is told the logits of reals and of fakes of each update of the discriminator, and
            what `Terms.note` is.
        judge: the role of the discriminator.
        given: what it takes besides images, (n, ...) each, of a batch and of whose images they are:
            ``real``, the name of a kind of fakes, or ``generator`` in the generator's update.
    """

    loss: Loss
    penalty: Penalty = Penalty(PenaltySettings(), 1, _CPU)  # noqa: RUF009
    augment: Augmenter = Augmenter(NoneSettings(), _CPU)  # noqa: RUF009
    share_fakes: bool = False
    auxiliary: float = 0.0
    classes_of_fakes: bool = True
    top_k: Schedule = Schedule(1)  # noqa: RUF009
    watch: Callable[[Tensor, Tensor, float], None] | None = None
    judge: str = "discriminator"
    given: Callable[[Batch, str], tuple[Tensor | None, ...]] = _labels

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
    def _make_fakes(self, step: Step, batch: Batch) -> Fakes:
        latent = batch.draws["generator"]
        if not self.share_fakes:
            latent = batch.draws["discriminator"]
        with step.autocast():
            fake: Tensor = step["generator"](latent, batch.labels)
        return {"fake": fake.to(batch.columns["image"].dtype)}

    def _share_fakes(self, step: Step, batch: Batch) -> Fakes:
        if step.micro_batches > 1:
            return self._make_fakes(step, batch)
        with step.autocast():
            fake: Tensor = step.with_gradients("generator")(batch.draws["generator"], batch.labels)
        step.kept[_FAKE] = fake
        return {"fake": fake.detach().to(batch.columns["image"].dtype)}

    def discriminator_terms(self, step: Step, batch: Batch, fakes: Fakes) -> Terms:
        """The loss of logits on reals and ``fakes``, penalties, and the auxiliary classes'."""
        due = self.penalty.due(step.images_seen)
        seen = DiscriminatorPass(self, step, batch, fakes, due)
        real, each = seen.real.logits, [judged.logits for judged in seen.fakes]
        loss = _mean_of_kinds(self.loss.discriminator)
        coupled = {"d_loss": Coupled((real, *each), loss)}
        if step.only_coupled:
            return Terms(coupled=coupled)
        means = {}
        if not self.loss.couples:
            means, coupled = {"d_loss": loss(real, *each)}, {}
        made = _joined(each)
        weights = [self.penalty.weight(name, step.images_seen) for name in due]
        paid = [w * seen.gradient_penalty(n) for w, n in zip(weights, due, strict=True)]
        on_logits = self.penalty.on_logits(real, made, step.images_seen)
        paid += [] if on_logits is None else [on_logits]
        if paid:
            means["d_penalty"] = torch.stack(paid).sum()
        if self.auxiliary and seen.real.classes is not None:
            wrong = seen.real.class_loss(batch.labels)
            if self.classes_of_fakes:
                wrong = wrong + _mean([each.class_loss(batch.labels) for each in seen.fakes])
            means["d_class"] = self.auxiliary * wrong

        def note(share: float) -> None:
            self.augment.observe(real)
            self.penalty.observe(real, made, share)
            if self.watch is not None:
                self.watch(real, made, share)

        return Terms(means, coupled, observed(real, each), note)

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
            judged = Judgement.of(step[self.judge], seen, labels)
        return self.terms_of_judged(step, labels, [judged], real)

    def terms_of_judged(
        self, step: Step, labels: Tensor | None, judged: Sequence[Judgement], real: Tensor | None
    ) -> Terms:
        """The generator's terms of what the discriminator says of its images, by kind.

        Args:
            labels: of the images of each kind, int64 (n,), or None.
            real: logits of the reals for a ``relative`` loss, else None.
        """
        kinds = [each.logits for each in judged]
        rows = (*kinds,) if real is None else (*kinds, real)
        share = self.top_k.at(step.images_seen)
        means: dict[str, Tensor] = {}
        coupled: dict[str, Coupled] = {}
        if self.loss.couples or share < 1:
            loss = self._of_most_believed(share)

            def of(*rows: Tensor) -> Tensor:
                return _mean([loss(fake, *rows[len(kinds) :]) for fake in rows[: len(kinds)]])

            coupled["g_loss"] = Coupled(rows, of)
        else:
            means["g_loss"] = _mean([self.loss.generator(k, *rows[len(kinds) :]) for k in kinds])
        if self.auxiliary and judged[0].classes is not None:
            wrong = _mean([each.class_loss(labels) for each in judged])
            means["g_class"] = self.auxiliary * wrong
        return Terms(means, coupled)

    @torch.no_grad()
    def _judge_reals(self, step: Step, batch: Batch) -> Tensor:
        # By the updated discriminator; they do not depend on the generator.
        images, labels, numbers = _reals_of_generator(batch)
        seen = self.augment(images, numbers)
        with step.autocast():
            return Judgement.of(step[self.judge], seen, labels).logits

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
        fakes: without a graph. Penalties on gradients between reals and fakes take the first kind.
        due: the penalties on gradients to come.
    """

    def __init__(
        self, terms: AdversarialTerms, step: Step, batch: Batch, fakes: Fakes, due: tuple[str, ...]
    ) -> None:
        self._network, self._step, self._batch = step[terms.judge], step, batch
        self._given = terms.given
        images = {kind: each.detach() for kind, each in fakes.items()}
        images = {"real": batch.columns["image"].detach(), **images}
        self._kinds = {"real": ("real",), "fake": tuple(fakes)}
        at = {GRADIENT_PENALTIES[name].at for name in due}
        places = [p for where, kinds in self._kinds.items() if where in at for p in kinds]
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
            # One pass over all of them is faster, unless only a part is to be differentiated
            # twice.
            joint = step.independent(terms.judge) and len(places) in (0, len(self._images))
            self.real, *self.fakes = self._judge_jointly() if joint else self._judge_apart()
        self._squares: dict[str, Tensor] = {}
        if places and not step.only_coupled:
            judged = dict(zip(seen, (self.real, *self.fakes), strict=True))
            logits = torch.stack([judged[place].score for place in places])
            norms = squared_gradient_norms(logits, [images[place] for place in places])
            self._squares = dict(zip(places, norms, strict=True))

    def _judge_jointly(self) -> list[Judgement]:
        given = zip(*(self._given(self._batch, place) for place in self._images), strict=True)
        together = torch.cat(list(self._images.values()))
        with self._step.samples(*self._images):
            judged = Judgement.of(self._network, together, *map(_stacked, given))
        return judged.parts(len(self._images))

    def _judge_apart(self) -> list[Judgement]:
        found = []
        for place, images in self._images.items():
            with self._step.samples(place):
                given = self._given(self._batch, place)
                found.append(Judgement.of(self._network, images, *given))
        return found

    def gradient_penalty(self, name: str) -> Tensor:
        """The mean of a penalty on gradients, without its weight."""
        at, cost, _ = GRADIENT_PENALTIES[name]
        if isinstance(at, str):
            return cost(_joined([self._squares[kind] for kind in self._kinds[at]])).mean()
        real, made = self._images["real"], self._images[self._kinds["fake"][0]]
        images = at(real, made, self._batch.draws[f"penalty-{name}"]).detach().requires_grad_()
        given = self._given(self._batch, "real")
        logits = Judgement.of(self._network, images, *given).score
        return cost(squared_gradient_norms(logits, [images])[0]).mean()


@torch.no_grad()
def observed(real: Tensor, fakes: Sequence[Tensor]) -> dict[str, Tensor]:
    """What is recorded of the discriminator's logits, float (n,) each; the fakes' by kind.

    Of logits of patches, (n, patches), means over these.
    """
    found = {
        "d_real": real.sigmoid(),
        "d_fake": _mean([logits.sigmoid() for logits in fakes]),
        "d_accuracy": _mean([(real > logits).to(real.dtype) for logits in fakes]),
        "d_sign": real.sign(),
    }
    return found if real.dim() == 1 else {name: rows.mean(1) for name, rows in found.items()}


def _stacked(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Of several places, each with values or all without."""
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _mean(of_kinds: Sequence[Tensor]) -> Tensor:
    return of_kinds[0] if len(of_kinds) == 1 else torch.stack(list(of_kinds)).mean(0)


def _mean_of_kinds(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """The mean over kinds of fakes of a loss of reals and fakes."""

    def of(real: Tensor, *kinds: Tensor) -> Tensor:
        return _mean([loss(real, fake) for fake in kinds])

    return of
