"""Ray Train, of 2.60, on a cluster of our own, with as few processes beside the workers as will do.

On two cores, each of them costs a newcomer a second before the first step, and the training
a share of a core as long as it lasts.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import ray
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2.api.result import Result

from distgan.launch.ray.failures import Left


class OwnTrainer(TorchTrainer):  # type: ignore[misc]
    """Runs Ray Train's controller in the driver's process instead of an actor's.

    An actor outlives a driver and may lie on another machine, neither of which a cluster of
    our own knows.

    Args:
        verbose: let Ray Train log here what an actor would log out of the user's sight.
    """

    _UNUSED = ("DatasetsCallback", "PlacementGroupCleanerCallback", "StateManagerCallback")
    """Some of Ray Train's callbacks. Each of the first two starts a process: one hands out Ray
    datasets passed to the trainer, ours go to the workers as references; the other frees
    placement groups when the controller died alone. The third tells the dashboard of an actor."""

    def __init__(self, *args: Any, verbose: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self._attendant, self._verbose = _StopCallback(), verbose

    def fit(self) -> Result:
        """As `TorchTrainer`'s."""
        logger = logging.getLogger("ray.train")
        level = logger.level
        if not self._verbose:
            # It logs what it raises, and what it mends.
            logger.setLevel(logging.CRITICAL)
        try:
            return super().fit()
        finally:
            logger.setLevel(level)

    def leave(self) -> None:
        """Make `fit` raise a `ControllerError` of `Left` soon, also while workers start."""
        self._attendant.leaves = True

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [
            *(c for c in callbacks if type(c).__name__ not in self._UNUSED),
            self._attendant,
        ]

    def _initialize_and_run_controller(self, **parts: Any) -> Result:
        if isinstance(parts["scaling_policy"], FixedScalingPolicy):
            parts["scaling_policy"] = _Fixed(self.scaling_config)
        controller = _Controller(**parts)
        asyncio.run(controller.run())
        return controller.get_result()


class _StopCallback(ControllerCallback, WorkerGroupCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.leaves = False

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        self._check()

    def before_init_train_context(self, workers: Any) -> dict[str, Any]:
        self._check()
        return {}

    def _check(self) -> None:
        if self.leaves:
            raise Left

    def after_worker_group_training_start(self, worker_group: WorkerGroup) -> None:
        # Carries ray.train.report and Ray Train's collectives, which our loop does not use.
        ray.kill(worker_group.get_worker_group_state().sync_actor)


class _Group(WorkerGroup):  # type: ignore[misc]
    def _init_train_context_on_workers(
        self, workers: list[Any], sync_actor: Any, train_context_args: dict[str, list[Any]]
    ) -> None:
        # Ray's own would hand them the actor that runs the controller; there is none.
        begun = []
        for number, worker in enumerate(workers):
            its = {name: values[number] for name, values in train_context_args.items()}
            answer = worker.actor.init_train_context.remote(
                train_run_context=self._train_run_context,
                distributed_context=worker.distributed_context,
                synchronization_actor=sync_actor,
                storage_context=self._storage_context,
                worker_callbacks=self._worker_callbacks_to_propagate,
                controller_actor=None,
                **its,
            )
            begun.append(answer)
        ray.get(begun)
        self._decorate_worker_log_file_paths(workers)


class _Fixed(FixedScalingPolicy):  # type: ignore[misc]
    """Asks no actor for more nodes, of which there are none."""

    def after_controller_start(self, train_run_context: Any) -> None: ...
    async def before_controller_shutdown(self) -> None: ...
    def _maybe_send_resource_request(self) -> None: ...


class _Controller(TrainController):  # type: ignore[misc]
    worker_group_cls = _Group
