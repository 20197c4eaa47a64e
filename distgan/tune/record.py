"""What is known of a trial: one JSON file each, written by the process that trains it.

The folder of a search::

    search.yaml              settings, space, and the configuration that they change
    owner.json               whose the search is, and how many owners it had before
    trials/0007.json         what became of a trial
    trials/0007/             its run, as `distgan train` leaves one
    best.yaml                the best configuration found
    trials.csv, .parquet     all of them in a table
    summary.json             what the search comes to
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from distgan.config.settings import override
from distgan.errors import UserError, brief, first_line
from distgan.storage.storage import Storage
from distgan.storage.textfiles import convert, read_json
from distgan.tune.dimensions import Raw

if TYPE_CHECKING:
    from distgan.tune.space import Space

FOLDER = "trials"

State = Literal["waiting", "running", "finished", "ended early", "ill", "failed", "stopped"]
"""``stopped``, ``running`` and ``failed`` are for `distgan tune --resume` to go on with."""

OVER: tuple[State, ...] = ("finished", "ended early", "ill", "failed")
"""States of trials that nobody runs any more."""

SETTLED: tuple[State, ...] = ("finished", "ended early", "ill")
"""Those that are not run again when the search is resumed; a failed one gets another try."""


@dataclass(frozen=True)
class Measured:
    """The objective after so many rungs, with its 95% interval where there is one."""

    rung: int
    images: int
    num: int
    """Generated images."""
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Adoption:
    """A member of a population took over another's state, and what it changed."""

    donor: int
    images: int
    rung: int
    sha256: str
    """Of the donor's checkpoint."""
    point: dict[str, Raw]


@dataclass(kw_only=True)
class Trial:
    """One trial. ``confirms`` is the trial whose configuration it trains with another seed."""

    number: int
    point: dict[str, Raw]
    seed: int
    changes: dict[str, Any] = field(default_factory=dict)
    """What the point changes of the recipe's settings: by dotted name, numbers or text."""
    confirms: int | None = None
    state: State = "waiting"
    why: str = ""
    images: int = 0
    seconds: float = 0.0
    history: list[Measured] = field(default_factory=list)
    final: Measured | None = None
    adoptions: list[Adoption] = field(default_factory=list)
    first: dict[str, Raw] = field(default_factory=dict)
    """The point before any adoption, once there is one."""
    fell_ill: list[int] = field(default_factory=list)
    """Rungs of a member of a population at which it was ill, instead of measured."""

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.number:04d}"

    @property
    def over(self) -> bool:
        """Whether nobody runs it any more, in this start of the search."""
        return self.state in OVER

    @property
    def settled(self) -> bool:
        """Whether it is not to be run again when the search is resumed."""
        return self.state in SETTLED

    @property
    def rung(self) -> int:
        """The last rung at which it was measured, or found ill; 0 before the first."""
        return max([0, *(m.rung for m in self.history), *self.fell_ill])

    def told(self, worst: float) -> list[Measured]:
        """What Ray Tune has heard of it before its end.

        Args:
            worst: stands for the objective of an ill trial.
        """
        if self.state != "ill":
            return self.history
        return [*self.history, Measured(self.rung + 1, self.images, 0, worst)]

    def save(self, storage: Storage) -> None:
        """Write it into the folder of the search.

        Raises:
            UserError: when the folder cannot be written.
        """
        content = asdict(self)
        content[_CHECKSUM] = _checksum(content)
        storage.write(f"{FOLDER}/{self.name}.json", json.dumps(content, indent=2) + "\n")


def load(storage: Storage, number: int) -> Trial | None:
    """A trial of a search, or None for one that has not begun.

    Raises:
        UserError: for a file that is damaged, or was edited.
    """
    name = f"{FOLDER}/{number:04d}.json"
    if not storage.exists(name):
        return None
    remedy = "delete it and the folder beside it, and the trial is run again"
    source = storage.show(name)
    content = read_json(storage, name, dict[str, Any], remedy)
    checksum = content.pop(_CHECKSUM, None)
    trial = convert(Trial, content, source, remedy)
    if trial.number != number:
        raise UserError(f"{source}: is of trial {brief(trial.number)}; {remedy}")
    if checksum != _checksum(content):
        raise UserError(
            f"{source}: was edited since the search wrote it (its {_CHECKSUM} is "
            f"{'another' if checksum else 'gone'}); undo the edit, or {remedy}"
        )
    return trial


_CHECKSUM = "checksum"
"""Key of a trial's file: SHA-256 of all else in it, however that is laid out."""


def _checksum(content: dict[str, Any]) -> str:
    # As it is read again: a number that is not finite comes back as none.
    plain = json.loads(json.dumps(content), parse_constant=lambda name: None)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


class Records:
    """All trials of a search, read again only where something may have changed."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known = {trial.number: trial for trial in load_all(storage)}
        self._read = time.monotonic()

    def current(self, running: Iterable[int]) -> list[Trial]:
        """Those that have begun, in the order of their numbers."""
        now = time.monotonic()
        if self._storage.local or now - self._read > _SECONDS_BETWEEN_READS:
            self._read = now
            begun = [n for n, trial in self._known.items() if not trial.over]
            for number in {*running, *begun}:
                found = load(self._storage, number)
                if found is not None:
                    self._known[number] = found
        return [self._known[number] for number in sorted(self._known)]


_SECONDS_BETWEEN_READS = 10.0
"""Where every look costs a call over a network."""


def load_all(storage: Storage) -> list[Trial]:
    """All trials that have begun, in the order of their numbers.

    Raises:
        UserError: for a file that is damaged, or that is no trial's.
    """
    numbers = [_number(storage, name) for name in storage.names(FOLDER) if name.endswith(".json")]
    found = [load(storage, number) for number in sorted(numbers)]
    return [trial for trial in found if trial is not None]


def check_points(storage: Storage, trials: Iterable[Trial], space: Space) -> None:
    """See that trials were drawn from a space.

    Raises:
        UserError: for one of values that it does not have, naming its file.
    """
    for trial in trials:
        try:
            for point in (trial.point, trial.first, *(taken.point for taken in trial.adoptions)):
                override(space.base, space.changes(point))
        except (ValueError, TypeError, KeyError, UserError) as error:
            raise UserError(
                f"{storage.show(f'{FOLDER}/{trial.name}.json')}: does not fit the search "
                f"({first_line(error)}); delete it and the folder beside it, and the trial is run "
                "again"
            ) from None


def _number(storage: Storage, name: str) -> int:
    stem = name.removesuffix(".json")
    if not (stem.isdecimal() and stem.isascii() and stem == f"{int(stem[:9]):04d}"):
        raise UserError(
            f"{storage.show(f'{FOLDER}/{name}')}: is no trial's file, whose names are numbers; "
            "move it elsewhere"
        )
    return int(stem)
