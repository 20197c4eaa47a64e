"""Means of what the steps of a run find, without waiting for the device in between."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from distgan.parallel import World


class Statistics:
    """Sums of named values, read and begun anew once per record.

    Args:
        names: every value that `add` may be given.
    """

    def __init__(self, names: tuple[str, ...], device: torch.device) -> None:
        self._sums = {n: torch.zeros((), dtype=torch.float64, device=device) for n in names}
        self._counts = dict.fromkeys(names, 0)

    def add(self, values: dict[str, Tensor]) -> None:
        """Count scalars, this rank's part of a mean over ranks."""
        for name, value in values.items():
            self._sums[name] += value
            self._counts[name] += 1

    def means(self, world: World) -> dict[str, float]:
        """The mean since the last call of what was seen since; all ranks must call it."""
        seen = [name for name, count in self._counts.items() if count]
        sums = torch.stack([self._sums[name] / self._counts[name] for name in seen])
        found = dict(zip(seen, world.mean(sums).tolist(), strict=True))
        for name, total in self._sums.items():
            total.zero_()
            self._counts[name] = 0
        return found

    def state_dict(self) -> dict[str, Any]:
        """This rank's, for a checkpoint."""
        return {
            "sums": torch.stack(list(self._sums.values())).cpu(),
            "counts": list(self._counts.values()),
        }

    def load_state_dict(self, ranks: list[dict[str, Any]], world: World) -> None:
        """Take up what each rank's `state_dict` gave, on any number of ranks."""
        mine = len(ranks) == world.size
        sums = ranks[world.rank]["sums"] if mine else sum(r["sums"] for r in ranks) / len(ranks)
        for name, total, count in zip(self._sums, sums, ranks[0]["counts"], strict=True):
            self._sums[name].copy_(total)
            self._counts[name] = count
