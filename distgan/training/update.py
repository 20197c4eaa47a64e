"""One step of training: the phases of a family, on any number of ranks and micro-batches.

The family says what is minimised. This module accumulates gradients over micro-batches,
weighs uneven shares, exchanges with other ranks once a phase, and finds the gradient of terms
that couple a batch in two passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from distgan.families.data import Batch
from distgan.families.terms import Coupled, Phase, Terms
from distgan.networks.random import sample_numbers
from distgan.parallel.batchnorm import kept_statistics
from distgan.training.network import TrainableNetwork, backward

Autocast = Callable[[bool], AbstractContextManager[object]]


def full_precision(enabled: bool = True) -> AbstractContextManager[object]:
    """No autocast: everything is computed in the dtype of the weights."""
    return nullcontext()


def bfloat16(device: torch.device) -> Autocast:
    """Forwards of networks under bfloat16 autocast, except where it is not ``enabled``.

    Not augmentations: where they place pixels, bfloat16's 8 bits are too few, and both updates
    must be shown images that were changed alike.
    """

    def autocast(enabled: bool) -> AbstractContextManager[object]:
        return torch.autocast(device.type, torch.bfloat16) if enabled else nullcontext()

    return autocast


def _local(values: Tensor) -> Tensor:
    return values


class TrainingStep:
    """The networks of a run in one step; see `distgan.families.terms.Step`.

    Args:
        images_seen: before this batch; what schedules go by.
        autocast: precision of networks' forwards.
        gather_global: maps values of the samples here, (n,), to those of the global micro-batch.
        seed: of random layers, which draw by the numbers of the samples; None without any.
    """

    def __init__(
        self,
        networks: Mapping[str, TrainableNetwork],
        images_seen: int = 0,
        autocast: Autocast = full_precision,
        gather_global: Callable[[Tensor], Tensor] = _local,
        seed: int | None = None,
    ) -> None:
        self.networks, self.images_seen = networks, images_seen
        self.gather_global = gather_global
        self.micro_batches = 1
        self.only_coupled = False
        self.kept: dict[str, Any] = {}
        self._autocast, self._seed = autocast, seed
        self._stream, self._numbers = "", torch.empty(0)
        self._trained: tuple[str, ...] = ()

    def __getitem__(self, role: str) -> nn.Module:
        """A network: wrapped for the exchange of gradients where this phase trains it."""
        network = self.networks[role]
        trained = role in self._trained and not self.only_coupled
        return network.parallel if trained else network.network

    def with_gradients(self, role: str) -> nn.Module:
        """A network as the phase that trains it will call it."""
        return self.networks[role].parallel

    def unwrapped(self, role: str) -> nn.Module:
        """A network itself, for what it can do besides its forward."""
        return self.networks[role].network

    def independent(self, role: str) -> bool:
        """Whether a sample's result does not depend on the others in its batch."""
        return self.networks[role].joint

    def autocast(self, enabled: bool = True) -> AbstractContextManager[object]:
        """The precision of a network's forward."""
        return self._autocast(enabled)

    def samples(self, *parts: str, phase: str = "") -> AbstractContextManager[object]:
        """Around a forward of rows that are not the batch's samples in their order, once.

        Args:
            parts: a name for each time that the batch's samples follow each other.
            phase: of forwards that draw the same in several phases, a name that these share.
        """
        if self._seed is None:
            return nullcontext()
        stream = phase or self._stream
        streams = [f"{stream}/{part}" if part else stream for part in parts]
        return sample_numbers(self._seed, streams, [self._numbers] * len(parts))

    def _drawing(
        self, phase: Phase, batch: Batch, part: str = ""
    ) -> AbstractContextManager[object]:
        """Around terms: random layers draw by the samples of the batch, the phase, and the part."""
        if self._seed is None:
            return nullcontext()
        assert batch.numbers is not None, "random layers need the numbers of the samples"
        self._stream, self._numbers = f"{phase.name}{part}", batch.numbers
        return self.samples("")

    def run(self, phases: Sequence[Phase], batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Update the networks of all phases, one phase after another.

        Args:
            batches: micro-batches of equal global size, whose gradients are accumulated.

        Returns:
            terms and observed values by name, detached scalars on the device: means over the
            samples here, weighted so that their mean over ranks is that over the global batch.
        """
        self.micro_batches = len(batches)
        for phase in phases:
            for role in phase.trains:
                self.networks[role].begin_update()
        found: dict[str, Tensor] = {}
        for phase in phases:
            with ExitStack() as frozen:
                for role in phase.through:
                    frozen.enter_context(self.networks[role].frozen())
                found |= self._update(phase, batches)
        return found

    def _update(self, phase: Phase, batches: Sequence[Batch]) -> dict[str, Tensor]:
        trained = [self.networks[role] for role in phase.trains]
        self._trained = phase.trains
        two_passes = phase.coupled and len(batches) > 1
        given: list[Any] = [None] * len(batches)
        slopes: dict[str, _Slopes] = {}
        if two_passes:
            given = [self._given(phase, batch) for batch in batches]
            slopes = self._first_pass(phase, batches, given)
        found = []
        for number, batch in enumerate(batches):
            share = batch.weight / len(batches)
            with ExitStack() as exchange:
                for network in trained:
                    exchange.enter_context(network.exchanging(last=number == len(batches) - 1))
                start = given[number] if two_passes else self._given(phase, batch)
                with self._drawing(phase, batch):
                    terms = phase.terms(self, batch, start)
                objective, values = self._objective(terms, share, slopes, number)
                backward(objective)
            with torch.no_grad():
                if terms.note is not None:
                    terms.note(share)
                found.append(_scaled(_means(values, terms), share))
        for network in trained:
            network.end_update()
        self._trained = ()
        return dict(zip((*values, *terms.observed), _added(found).unbind(), strict=True))

    def _given(self, phase: Phase, batch: Batch) -> Any:
        if phase.given is None:
            return None
        with self._drawing(phase, batch, "/given"):
            return phase.given(self, batch)

    def _objective(
        self, terms: Terms, share: float, slopes: Mapping[str, _Slopes], number: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What a micro-batch adds to the objective, and the value of each term."""
        values: dict[str, Tensor] = {}
        parts: list[Tensor] = []
        for name, term in terms.coupled.items():
            if slopes:
                values[name] = slopes[name].value
                parts += slopes[name].products(term.rows, number)
            else:
                # The gradient of what all ranks computed alike comes back in the right measure.
                values[name] = term.of(*map(self.gather_global, term.rows))
                parts.append(values[name])
        for name, value in terms.means.items():
            values[name] = value
            parts.append(_scaled(value, share))
        objective = parts[0]
        for part in parts[1:]:
            objective = objective + part
        return objective, values

    def _first_pass(
        self, phase: Phase, batches: Sequence[Batch], given: Sequence[Any]
    ) -> dict[str, _Slopes]:
        """The coupled terms and their slopes at every value of their rows.

        Gao et al. 2021 ("Scaling Deep Contrastive Learning Batch Size under Memory Limited
        Setup"): a first pass without a graph finds the rows, and from them what each adds to
        the gradient; the second pass needs one micro-batch at a time. Running statistics move
        in the second only, as often as without the first.
        """
        used = [self.networks[role].network for role in (*phase.trains, *phase.through)]
        self.only_coupled = True
        terms = []
        with torch.no_grad(), kept_statistics(*used):
            for batch, start in zip(batches, given, strict=True):
                with self._drawing(phase, batch):
                    terms.append(phase.terms(self, batch, start).coupled)
        self.only_coupled = False
        return {name: self._slopes([each[name] for each in terms]) for name in terms[0]}

    def _slopes(self, terms: Sequence[Coupled]) -> _Slopes:
        rows = [[row.detach().requires_grad_() for row in term.rows] for term in terms]
        whole = [
            torch.cat([self.gather_global(part[number]) for part in rows])
            for number in range(len(rows[0]))
        ]
        value = terms[0].of(*whole)
        flat = [row for part in rows for row in part]
        found = iter(torch.autograd.grad(value, flat, allow_unused=True))
        return _Slopes(value.detach(), [[next(found) for _ in part] for part in rows])


class _Slopes:
    """A coupled term's value, and by micro-batch and row its slope, float (n,) or None."""

    def __init__(self, value: Tensor, slopes: list[list[Tensor | None]]) -> None:
        self.value, self._slopes = value, slopes

    def products(self, rows: Sequence[Tensor], number: int) -> list[Tensor]:
        """Scalars whose gradient in a micro-batch's rows is the slope."""
        return [
            (row * slope).sum()
            for row, slope in zip(rows, self._slopes[number], strict=True)
            if slope is not None and row.requires_grad
        ]


def _means(values: Mapping[str, Tensor], terms: Terms) -> Tensor:
    """Values of the terms and means of what was observed, (k,), in few operations."""
    found = [torch.stack([value.detach() for value in values.values()])]
    if terms.observed:
        found.append(torch.stack(list(terms.observed.values())).mean(1))
    return found[0] if len(found) == 1 else torch.cat(found)


def _scaled(value: Tensor, share: float) -> Tensor:
    return value if share == 1 else value * share  # Most batches are whole.


def _added(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
