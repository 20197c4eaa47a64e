"""What an update is told: its phases, and the terms that each minimises.

The names are those of the field: a *phase* updates some of the networks once (StyleGAN3's
training loop has the word), and *terms* are what a phase minimises. `distgan.training.update`
alone knows of micro-batches, ranks and optimizers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from torch import Tensor, nn

from distgan.families.data import Batch


@dataclass(frozen=True)
class Coupled:
    """A term that is no mean over samples, such as one that compares with a batch's mean.

    ``rows`` are float (n,), one value a sample in each; ``of`` maps them, each for the whole
    global batch, to a scalar. Their gradient is found for all samples at once, on any number of
    ranks and micro-batches.
    """

    rows: tuple[Tensor, ...]
    of: Callable[..., Tensor]


@dataclass(frozen=True)
class Terms:
    """What a phase minimises for one micro-batch: the sum of ``means`` and ``coupled``.

    Args:
        means: scalars, each a mean over the samples here.
        observed: float (n,) without a graph, whose means are recorded and not minimised.
        note: called when the gradients are there, with this micro-batch's share of the global
            batch times the number of ranks; for running statistics of the family's own.
    """

    means: Mapping[str, Tensor] = field(default_factory=dict)
    coupled: Mapping[str, Coupled] = field(default_factory=dict)
    observed: Mapping[str, Tensor] = field(default_factory=dict)
    note: Callable[[float], None] | None = None


class Step(Protocol):
    """What the terms of a phase are computed with."""

    images_seen: int
    """Real images before this batch; what schedules go by."""
    micro_batches: int
    """That the batch is divided into."""
    only_coupled: bool
    """Whether only `Terms.coupled` is wanted, without a graph."""
    kept: dict[str, Any]
    """For what one phase leaves to a later one of the same step."""

    def __getitem__(self, role: str) -> nn.Module:
        """A network: as a phase that trains it must call it, or as it is in any other."""
        ...

    def with_gradients(self, role: str) -> nn.Module:
        """A network as the phase that trains it will call it, before that phase has come."""
        ...

    def unwrapped(self, role: str) -> nn.Module:
        """A network itself, for what it can do besides its forward.

        Gradients that reach its weights so are exchanged with those of a forward of ``step[role]``
        in the same phase, of which there must be one.
        """
        ...

    def independent(self, role: str) -> bool:
        """Whether a sample's result does not depend on the others in its batch."""
        ...

    def autocast(self, enabled: bool = True) -> AbstractContextManager[object]:
        """The precision of a network's forward."""
        ...

    def gather_global(self, values: Tensor, /) -> Tensor:
        """Values of the samples here, (n, ...) -> of those of the global micro-batch."""
        ...

    def samples(self, *parts: str, phase: str = "") -> AbstractContextManager[object]:
        """Around a forward of rows that are not the batch's samples in their order, once.

        Random layers draw by sample; for a batch that was put together, such as reals and then
        fakes, this names its ``parts``. They draw anew in each phase; of forwards that are to draw
        the same in several, ``phase`` is a name that these share.
        """
        ...


@dataclass(frozen=True)
class Phase:
    """One update of some networks.

    Args:
        trains: roles of the networks that it updates.
        terms: of a step, a batch, and what ``given`` gave.
        given: what the terms start from that takes no gradients, found once for a micro-batch
            however often its terms are computed.
        through: roles of networks that gradients pass and that are left as they are.
        coupled: whether terms are `Coupled`, so that several micro-batches take two passes.
    """

    name: str
    trains: tuple[str, ...]
    terms: Callable[[Step, Batch, Any], Terms]
    given: Callable[[Step, Batch], Any] | None = None
    through: tuple[str, ...] = ()
    coupled: bool = False


def weighted(terms: Terms, weight: float) -> Terms:
    """Terms that count so many times as much."""
    means = {name: weight * value for name, value in terms.means.items()}
    coupled = {name: _times(term, weight) for name, term in terms.coupled.items()}
    return replace(terms, means=means, coupled=coupled)


def named(terms: Terms, ending: str) -> Terms:
    """Terms whose names have an ending, as there are others of the same kind."""
    return Terms(
        {name + ending: value for name, value in terms.means.items()},
        {name + ending: term for name, term in terms.coupled.items()},
        {name + ending: rows for name, rows in terms.observed.items()},
        terms.note,
    )


def combined(parts: Sequence[Terms]) -> Terms:
    """The sum of terms that have names of their own."""
    notes = [part.note for part in parts if part.note is not None]

    def note(share: float) -> None:
        for each in notes:
            each(share)

    return Terms(
        {name: value for part in parts for name, value in part.means.items()},
        {name: term for part in parts for name, term in part.coupled.items()},
        {name: rows for part in parts for name, rows in part.observed.items()},
        note if notes else None,
    )


def _times(term: Coupled, weight: float) -> Coupled:
    return Coupled(term.rows, lambda *rows: weight * term.of(*rows))
