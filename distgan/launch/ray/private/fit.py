"""`TorchTrainer` with callbacks inside Ray's controller, of 2.60."""

from __future__ import annotations

from functools import partial
from typing import Any

from ray.train.torch import TorchTrainer

from distgan.launch.ray.fit import Fit
from distgan.launch.ray.private.controller import FailurePolicy
from distgan.launch.ray.private.trainer import OwnTrainer


class PrivateFit(Fit):
    """Hears of resizing and preemption; on a cluster of our own without a controller's actor."""

    _trainer: Any = None

    def _fit(self) -> Any:
        policy = FailurePolicy(self._job.out, self._channel, self._max_failures)
        kind = partial(OwnTrainer, verbose=self._job.verbose) if self._cluster.own else TorchTrainer
        # The callback counts them, and ends the run.
        self._trainer = kind(self._work, **self._parts(-1, [policy]))
        if self._left:
            self._leave_own()
        return self._trainer.fit()

    def _leave_own(self) -> None:
        if isinstance(self._trainer, OwnTrainer):
            self._trainer.leave()
