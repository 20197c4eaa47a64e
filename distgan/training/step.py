"""The adversarial step: one discriminator update, then one generator update.

Pure PyTorch. The step does not know how many processes take part: a network that is
data-parallel arrives wrapped, an uneven share of the global batch arrives as a weight, and
what needs the whole global batch asks `UpdateRule.whole`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from distgan.augment import Augmenter, AugmentNumbers, NoneSettings
from distgan.config.schedule import Schedule
from distgan.objectives.adversarial import Loss
from distgan.objectives.penalties import (
    GRADIENT_PENALTIES,
    Penalty,
    PenaltySettings,
    squared_gradient_norms,
)
from distgan.parallel.batchnorm import kept_statistics
from distgan.training.network import TrainableNetwork, backward

_NO_NUMBERS = AugmentNumbers()
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Batch:
    """This process's part of a global micro-batch, on its device.

    ``real`` is float (n, c, h, w) in [-1, 1], ``labels`` int64 (n,) or None, and the
    latents float (n, latent), one set for each player's update. Fakes take the labels
    of the reals. ``augment`` decides what the images go through on their way to the
    discriminator, ``penalty`` where penalties on gradients are taken: for each float (n, k).
    ``weight`` is n times the number of processes over the global micro-batch: 1 for equal
    shares, and what makes the average of gradients exact for unequal ones.
    """

    real: Tensor
    labels: Tensor | None
    discriminator_latent: Tensor
    generator_latent: Tensor
    weight: float = 1.0
    augment: AugmentNumbers = _NO_NUMBERS
    penalty: Mapping[str, Tensor] = field(default_factory=dict)


def _itself(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True)
class UpdateRule:
    """What a step minimises, and how.

    Args:
        penalty: terms added to the discriminator's loss.
        augment: what every image goes through before the discriminator sees it.
        share_fakes: give both updates the same latents, and where the batch is whole run
            the generator once for both, as Radford et al.'s code does.
        auxiliary: weight of the class logits' cross entropy (AC-GAN, Odena et al. 2017).
        top_k: share of the fakes, those the discriminator believes most, that the generator
            learns from (Sinha et al. 2020).
        bfloat16: run the networks' forwards under bfloat16 autocast, except where a penalty
            on gradients is due.
        whole: maps one value of each sample here, (n,), to those of the global micro-batch.
    """

    loss: Loss
    penalty: Penalty = Penalty(PenaltySettings(), 1, _CPU)  # noqa: RUF009
    augment: Augmenter = Augmenter(NoneSettings(), _CPU)  # noqa: RUF009
    share_fakes: bool = False
    auxiliary: float = 0.0
    top_k: Schedule = Schedule(1)  # noqa: RUF009
    bfloat16: bool = False
    whole: Callable[[Tensor], Tensor] = _itself

    def autocast(
        self, device: torch.device, enabled: bool = True
    ) -> AbstractContextManager[object]:
        """The precision of a network's forward.

        Not that of an augmentation: where it places pixels, bfloat16's 8 bits are too few,
        and both updates must be shown images that were changed alike.
        """
        if self.bfloat16 and enabled:
            return torch.autocast(device.type, torch.bfloat16)
        return nullcontext()  # Cheaper than an autocast that is off.


STATISTICS = (
    "d_loss",
    "g_loss",
    "d_real",
    "d_fake",
    "d_accuracy",
    "d_sign",
    "d_penalty",
)
"""What a step finds: both adversarial losses; before the updates, mean D(x) and mean D(G(z)),
the share of pairs (x, G(z)) that D ranks rightly, which is 1/2 for one that cannot tell them
apart whatever the loss, and E[sign(D(x))], ADA's measure of overfitting (Karras et al. 2020);
and the penalties, where one was due."""
_OF_DISCRIMINATOR = tuple(name for name in STATISTICS if name != "g_loss")


def adversarial_step(
    generator: TrainableNetwork,
    discriminator: TrainableNetwork,
    rule: UpdateRule,
    batches: Sequence[Batch],
    images_seen: int = 0,
    update_generator: bool = True,
) -> dict[str, Tensor]:
    """Update the discriminator, then the generator against the updated discriminator.

    Args:
        batches: the micro-batches whose gradients are accumulated, of equal global size.
        images_seen: before this batch; what schedules go by.
        update_generator: whether it is the generator's turn too.

    Returns:
        some of `STATISTICS`, detached scalars on the device: means over the samples here,
        weighted so that their mean over processes is that over the global batch.
    """
    shared = None
    if update_generator:
        generator.begin_update()
    if rule.share_fakes and update_generator and len(batches) == 1:
        with rule.autocast(batches[0].real.device):
            shared = generator.parallel(batches[0].generator_latent, batches[0].labels)
        fakes = [shared.detach().to(batches[0].real.dtype)]
    else:
        fakes = [_imitate(generator.network, rule, batch) for batch in batches]
    found = _discriminator_update(discriminator, rule, batches, fakes, images_seen)
    if update_generator:
        with discriminator.frozen() as frozen:
            value = _generator_update(generator, frozen, rule, batches, shared, images_seen)
        found["g_loss"] = value
    return found


@torch.no_grad()
def _imitate(network: nn.Module, rule: UpdateRule, batch: Batch) -> Tensor:
    latent = batch.generator_latent if rule.share_fakes else batch.discriminator_latent
    with rule.autocast(batch.real.device):
        fake: Tensor = network(latent, batch.labels)
    return fake.to(batch.real.dtype)


@dataclass(frozen=True)
class _Opinion:
    """What the discriminator says of images: logits, float (n,), and of what class."""

    logits: Tensor
    classes: Tensor | None = None

    @staticmethod
    def of(network: nn.Module, images: Tensor, labels: Tensor | None) -> _Opinion:
        said: Tensor = network(images, labels)
        said = said.float() if said.dtype == torch.bfloat16 else said
        return _Opinion(said) if said.dim() == 1 else _Opinion(said[:, 0], said[:, 1:])

    def halves(self) -> tuple[_Opinion, _Opinion]:
        """Of the first and the second half of the images."""
        classes = (None, None) if self.classes is None else self.classes.chunk(2)
        first, second = self.logits.chunk(2)
        return _Opinion(first, classes[0]), _Opinion(second, classes[1])

    def misclassified(self, labels: Tensor | None) -> Tensor | float:
        """Mean cross entropy of the classes, 0 where there are none."""
        if self.classes is None or labels is None:
            return 0.0
        return cross_entropy(self.classes, labels)


class _Examination:
    """Reals and fakes of a micro-batch as the discriminator sees and judges them.

    Args:
        network: the discriminator, wrapped or bare.
        joint: whether it may see reals and fakes in one pass.
        due: the penalties on gradients to come.
    """

    def __init__(
        self,
        network: nn.Module,
        joint: bool,
        rule: UpdateRule,
        batch: Batch,
        fake: Tensor,
        due: tuple[str, ...],
    ) -> None:
        self._network, self._rule, self._batch = network, rule, batch
        self._images = {
            "real": rule.augment(batch.real, batch.augment.real).detach(),
            "fake": rule.augment(fake, batch.augment.fake).detach(),
        }
        places = [p for p in self._images if any(GRADIENT_PENALTIES[n].at == p for n in due)]
        for place in places:
            self._images[place].requires_grad_()
        real, fake = self._images["real"], self._images["fake"]
        with rule.autocast(real.device, not due):
            # One pass over twice as many is faster, unless only half of it is to be
            # differentiated twice.
            if joint and len(places) != 1:
                labels = None if batch.labels is None else batch.labels.repeat(2)
                self.real, self.fake = _Opinion.of(
                    network, torch.cat([real, fake]), labels
                ).halves()
            else:
                self.real = _Opinion.of(network, real, batch.labels)
                self.fake = _Opinion.of(network, fake, batch.labels)
        self._squares: dict[str, Tensor] = {}
        if places and torch.is_grad_enabled():
            logits = torch.stack([getattr(self, place).logits for place in places])
            norms = squared_gradient_norms(logits, [self._images[place] for place in places])
            self._squares = dict(zip(places, norms, strict=True))

    def charge(self, name: str) -> Tensor:
        """The mean cost of a penalty on gradients, without its weight."""
        at, charge, _ = GRADIENT_PENALTIES[name]
        if isinstance(at, str):
            return charge(self._squares[at]).mean()
        images = at(self._images["real"], self._images["fake"], self._batch.penalty[name])
        images = images.detach().requires_grad_()
        logits = _Opinion.of(self._network, images, self._batch.labels).logits
        return charge(squared_gradient_norms(logits, [images])[0]).mean()


def _discriminator_update(
    discriminator: TrainableNetwork,
    rule: UpdateRule,
    batches: Sequence[Batch],
    fakes: Sequence[Tensor],
    images_seen: int,
) -> dict[str, Tensor]:
    due = rule.penalty.due(images_seen)
    found = []
    discriminator.begin_update()
    slopes = _discriminator_slopes(discriminator, rule, batches, fakes, due)
    for number, (batch, fake) in enumerate(zip(batches, fakes, strict=True)):
        share = batch.weight / len(batches)
        with discriminator.exchanging(last=number == len(batches) - 1):
            seen = _Examination(discriminator.parallel, discriminator.joint, rule, batch, fake, due)
            real, made = seen.real.logits, seen.fake.logits
            if slopes is not None:
                value, objective = slopes[0], (torch.stack([real, made]) * slopes[1][number]).sum()
            elif rule.loss.couples:
                objective = value = rule.loss.discriminator(rule.whole(real), rule.whole(made))
            else:
                value = rule.loss.discriminator(real, made)
                objective = _scaled(value, share)
            paid = [rule.penalty.weight(n, images_seen) * seen.charge(n) for n in due]
            anchored = rule.penalty.on_logits(real, made, images_seen)
            paid += [] if anchored is None else [anchored]
            for term in paid:
                objective = objective + _scaled(term, share)
            if rule.auxiliary and batch.labels is not None:
                wrong = seen.real.misclassified(batch.labels)
                wrong = wrong + seen.fake.misclassified(batch.labels)
                objective = objective + rule.auxiliary * share * wrong
            backward(objective)
        with torch.no_grad():
            rule.augment.observe(real)
            rule.penalty.observe(real, made, share)
            found.append(_scaled(_describe(value, real, made, paid), share))
    discriminator.end_update()
    # The penalties come last, and not from every step.
    return dict(zip(_OF_DISCRIMINATOR, _added(found).unbind(), strict=False))


def _describe(value: Tensor, real: Tensor, made: Tensor, paid: list[Tensor]) -> Tensor:
    # By `_OF_DISCRIMINATOR`, in few operations.
    each = [real.sigmoid(), made.sigmoid(), (real > made).to(real.dtype), real.sign()]
    penalties = [torch.stack(paid).sum(0, keepdim=True)] if paid else []
    return torch.cat([value.view(1), torch.stack(each).mean(1), *penalties])


def _scaled(value: Tensor, share: float) -> Tensor:
    return value if share == 1 else value * share  # Most batches are whole.


def _added(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _discriminator_slopes(
    discriminator: TrainableNetwork,
    rule: UpdateRule,
    batches: Sequence[Batch],
    fakes: Sequence[Tensor],
    due: tuple[str, ...],
) -> tuple[Tensor, list[Tensor]] | None:
    """The loss and its slope at every logit, where micro-batches are not independent.

    Gao et al. 2021 ("Scaling Deep Contrastive Learning Batch Size under Memory Limited
    Setup"): a first pass without a graph finds the logits, and from them what each adds to
    the gradient; the second pass needs one micro-batch at a time. Running statistics move in
    the second only, as often as without the first.

    Returns:
        the loss, and for each micro-batch float (2, n), of reals and fakes.
    """
    if not rule.loss.couples or len(batches) == 1:
        return None
    with torch.no_grad(), kept_statistics(discriminator.network):
        seen = [
            _Examination(discriminator.network, discriminator.joint, rule, batch, fake, due)
            for batch, fake in zip(batches, fakes, strict=True)
        ]
    logits = [torch.stack([s.real.logits, s.fake.logits]).requires_grad_() for s in seen]
    real, fake = (torch.cat([rule.whole(both[side]) for both in logits]) for side in (0, 1))
    value = rule.loss.discriminator(real, fake)
    return value.detach(), list(torch.autograd.grad(value, logits))


def _generator_update(
    generator: TrainableNetwork,
    frozen: nn.Module,
    rule: UpdateRule,
    batches: Sequence[Batch],
    shared: Tensor | None,
    images_seen: int,
) -> Tensor:
    parts, kept = len(batches), rule.top_k.at(images_seen)
    couples = rule.loss.couples or kept < 1
    slopes = None
    if couples and parts > 1:
        with torch.no_grad(), kept_statistics(generator.network, frozen):
            logits = [_fool(generator.network, frozen, rule, b).logits for b in batches]
        logits = [part.requires_grad_() for part in logits]
        value = _generator_loss(rule, frozen, batches, logits, kept)
        slopes = torch.autograd.grad(value, logits)
    values: list[Tensor] = []
    for number, batch in enumerate(batches):
        share = batch.weight / parts
        with generator.exchanging(last=number == parts - 1):
            fake = _fool(generator.parallel, frozen, rule, batch, shared)
            if slopes is not None:
                objective = (fake.logits * slopes[number]).sum()
            elif couples:
                objective = value = _generator_loss(rule, frozen, [batch], [fake.logits], kept)
            else:
                real = _judge_reals(rule, frozen, batch) if rule.loss.relative else None
                value = _loss_of(rule, fake.logits, real)
                objective = _scaled(value, share)
            if rule.auxiliary and batch.labels is not None:
                objective = objective + rule.auxiliary * share * fake.misclassified(batch.labels)
            backward(objective)
        values.append(_scaled(value.detach(), share))
    generator.end_update()
    return _added(values)


def _fool(
    generator: nn.Module,
    frozen: nn.Module,
    rule: UpdateRule,
    batch: Batch,
    fake: Tensor | None = None,
) -> _Opinion:
    # What D says of the generator's images, which may be at hand already.
    with rule.autocast(batch.real.device):
        if fake is None:
            fake = generator(batch.generator_latent, batch.labels)
    seen = rule.augment(fake.to(batch.real.dtype), batch.augment.generator)
    with rule.autocast(batch.real.device):
        return _Opinion.of(frozen, seen, batch.labels)


@torch.no_grad()
def _judge_reals(rule: UpdateRule, frozen: nn.Module, batch: Batch) -> Tensor:
    # By the updated discriminator; they do not depend on the generator.
    seen = rule.augment(batch.real, batch.augment.real)
    with rule.autocast(batch.real.device):
        return _Opinion.of(frozen, seen, batch.labels).logits


def _generator_loss(
    rule: UpdateRule,
    frozen: nn.Module,
    batches: Sequence[Batch],
    fakes: Sequence[Tensor],
    kept: float,
) -> Tensor:
    """The loss over the whole global batch, of the share ``kept`` that D believes most."""
    fake = torch.cat([rule.whole(logits) for logits in fakes])
    best = torch.arange(len(fake), device=fake.device)
    if kept < 1:
        best = fake.detach().topk(math.ceil(kept * len(fake))).indices
    real = None
    if rule.loss.relative:
        reals = [rule.whole(_judge_reals(rule, frozen, batch)) for batch in batches]
        real = torch.cat(reals)
        # A relativistic average compares with all reals, pairs only with their own.
        real = real if rule.loss.couples else real[best]
    return _loss_of(rule, fake[best], real)


def _loss_of(rule: UpdateRule, fake: Tensor, real: Tensor | None) -> Tensor:
    return rule.loss.generator(fake) if real is None else rule.loss.generator(fake, real)
