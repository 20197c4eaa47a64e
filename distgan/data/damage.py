"""Damaged images that were passed over: counted, listed, and at last refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from distgan.data.images import ImageSet
from distgan.data.order import Numbers
from distgan.errors import UserError
from distgan.storage.storage import Storage
from distgan.storage.textfiles import read_text


class Damage:
    """What one process met of damaged images, those before a resume included.

    Args:
        limit: how many may be passed over.
        storage: the run's folder, where ``bad-images.txt`` lists them; None lists nothing.
        rank: names the list of a process other than the first.
        note: told of every new one.
    """

    def __init__(
        self,
        images: ImageSet,
        limit: int,
        storage: Storage | None = None,
        rank: int = 0,
        note: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._images, self._limit, self._storage, self._note = images, limit, storage, note
        self._name = f"bad-images-{rank}.txt" if rank else "bad-images.txt"
        self._found = self._before()

    def add(self, numbers: Numbers) -> None:
        """Take note of damaged images, by their numbers in the set.

        Raises:
            UserError: when there are more than the limit.
        """
        new = {int(number) for number in np.unique(numbers)} - self._found
        if not new:
            return
        self._found |= new
        lines = [self._images.locate(number) for number in sorted(self._found)]
        if self._storage is not None:
            self._storage.write(self._name, "".join(f"{line}\n" for line in lines))
        if len(self._found) > self._limit:
            raise UserError(
                f"--skip-bad {self._limit}: {len(self._found)} damaged images so far, such "
                f"as {lines[0]}; mend them (bad-images.txt in the run lists them), or allow more"
            )
        for number in sorted(new):
            self._note(f"passed over a damaged image: {self._images.locate(number)}")

    def _before(self) -> set[int]:
        """What the run met before it was stopped, which its list goes on with."""
        if self._storage is None or not self._storage.exists(self._name):
            return set()
        places = read_text(self._storage, self._name, "delete it, and its count begins anew")
        found = (self._images.find(place) for place in places.splitlines())
        return {number for number in found if number is not None}
