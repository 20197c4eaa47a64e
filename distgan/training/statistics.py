"""Means of values over steps, accumulated on the device without synchronising with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from distgan.parallel import World


class Statistics:
    """Sums of named values, read and reset once per record.

    Args:
        names: every name that `add` may be given.
    """

    def __init__(self, names: tuple[str, ...], device: torch.device) -> None:
        self._names, self._device = names, device
        # One tensor for each set of names added together: two operations a step, not two a name.
        self._sums: dict[tuple[str, ...], Tensor] = {}
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        """Add scalars, each this rank's part of a mean over ranks."""
        together = tuple(values)
        if together not in self._sums:
            zeros = torch.zeros(len(together), dtype=torch.float64, device=self._device)
            self._sums[together], self._counts[together] = zeros, 0
        self._sums[together] += torch.stack(list(values.values()))
        self._counts[together] += 1

    def means(self, world: World, *, keep: bool = False) -> dict[str, float]:
        """The means since the last call; all ranks must call it.

        Args:
            keep: do not reset the sums.
        """
        sums, counts = self._by_name()
        seen = [name for name in self._names if counts[name]]
        if not seen:
            return {}
        found = torch.stack([sums[name] / counts[name] for name in seen])
        if not keep:
            self._sums.clear()
            self._counts.clear()
        return dict(zip(seen, world.mean(found).tolist(), strict=True))

    def _by_name(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        nothing = torch.zeros((), dtype=torch.float64, device=self._device)
        sums, counts = dict.fromkeys(self._names, nothing), dict.fromkeys(self._names, 0)
        for together, values in self._sums.items():
            for name, value in zip(together, values, strict=True):
                sums[name] = sums[name] + value
                counts[name] += self._counts[together]
        return sums, counts

    def state_dict(self) -> dict[str, Any]:
        """This rank's sums, for a checkpoint."""
        sums, counts = self._by_name()
        return {"sums": torch.stack(list(sums.values())).cpu(), "counts": list(counts.values())}

    def load_state_dict(self, ranks: list[dict[str, Any]], world: World) -> None:
        """Restore from each rank's `state_dict`, on any number of ranks."""
        mine = len(ranks) == world.size
        sums = ranks[world.rank]["sums"] if mine else sum(r["sums"] for r in ranks) / len(ranks)
        counts = zip(self._names, ranks[0]["counts"], strict=True)
        self._counts = {(name,): count for name, count in counts if count}
        whole = dict(zip(self._names, sums.to(self._device).split(1), strict=True))
        self._sums = {(name,): whole[name].clone() for (name,) in self._counts}
