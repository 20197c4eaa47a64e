"""Damaged images that are skipped: counted, listed, and an error beyond a limit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from distgan.data.images import ImageSet
from distgan.data.order import Numbers
from distgan.errors import UserError
from distgan.storage.storage import Storage
from distgan.storage.textfiles import read_text

_OF_OTHER = " of --data_b"
"""Ends the places in the second set: the files of both may have the same names."""


class Damage:
    """The damaged images that one process met, including those before a resume.

    Those of a run's second set are counted with the others, by numbers that follow theirs.

    Args:
        limit: how many may be skipped.
        storage: the run's folder, in which ``bad-images.txt`` lists them; None writes no list.
        rank: of the process; part of the list's name for ranks other than 0.
        note: takes a line about each new one.
        other: the run's second set, where it has one.
    """

    def __init__(
        self,
        images: ImageSet,
        limit: int,
        storage: Storage | None = None,
        rank: int = 0,
        note: Callable[[str], object] = lambda text: None,
        other: ImageSet | None = None,
    ) -> None:
        self._images, self._limit, self._storage, self._note = images, limit, storage, note
        self._other, self._what = other, "image" if images.clips is None else "clip"
        self._name = f"bad-images-{rank}.txt" if rank else "bad-images.txt"
        self._found = self._before()

    def add(self, numbers: Numbers, second: bool = False) -> None:
        """Count damaged images, given by their numbers in the set, or in the ``second`` one.

        Raises:
            UserError: when there are more than the limit.
        """
        # A set that is cut in halves has one numbering.
        before = self._images.count if second and self._other is not None else 0
        new = {before + int(number) for number in np.unique(numbers)} - self._found
        if not new:
            return
        self._found |= new
        lines = [self._locate(number) for number in sorted(self._found)]
        if self._storage is not None:
            self._storage.write(self._name, "".join(f"{line}\n" for line in lines))
        if len(self._found) > self._limit:
            raise UserError(
                f"--skip-bad {self._limit}: {len(self._found)} damaged {self._what}s so far, such "
                f"as {lines[0]}; mend them (bad-images.txt in the run lists them), or allow more"
            )
        for number in sorted(new):
            self._note(f"passed over a damaged {self._what}: {self._locate(number)}")

    def _locate(self, number: int) -> str:
        if number < self._images.count or self._other is None:
            return self._images.locate(number)
        return f"{self._other.locate(number - self._images.count)}{_OF_OTHER}"

    def _find(self, place: str) -> int | None:
        if self._other is None or not place.endswith(_OF_OTHER):
            return self._images.find(place)
        found = self._other.find(place.removesuffix(_OF_OTHER))
        return None if found is None else self._images.count + found

    def _before(self) -> set[int]:
        """The numbers in the list of a resumed run."""
        if self._storage is None or not self._storage.exists(self._name):
            return set()
        places = read_text(self._storage, self._name, "delete it, and its count begins anew")
        found = (self._find(place) for place in places.splitlines())
        return {number for number in found if number is not None}
