"""An evaluation shared by the workers of a cluster."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.train import RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchTrainer

from distgan.evaluate.evaluation import Evaluation
from distgan.evaluate.extraction import BLOCK
from distgan.launch.evaluation import Job
from distgan.launch.ray.cluster import Cluster
from distgan.launch.ray.connection import reached, variables
from distgan.launch.ray.failures import mistake_in
from distgan.launch.ray.rendezvous import Rendezvous, backend
from distgan.launch.ray.workers import Device
from distgan.parallel import World
from distgan.parallel.groups import SECONDS_OF_A_WAIT


def measure_on_ray(
    job: Job,
    cluster: Cluster,
    device: Device,
    threads: int | None,
    note: Callable[[str], object],
) -> Evaluation:
    """Measure on the workers of a cluster, each of which sees its blocks of images.

    Raises:
        UserError: when the cluster cannot be reached or is too small, or a worker met a
            mistake that the user can mend.
        StartStoppedError: when a stop was asked for.
    """
    with cluster:
        # No more workers than blocks of images.
        workers = cluster.workers(device, -(-job.config.evaluate.num // BLOCK), threads, note)
        note(workers.describe())
        trainer = TorchTrainer(
            _work,
            train_loop_config={"job": job, "threads": workers.threads},
            torch_config=Rendezvous(
                backend=backend(workers.gpu),
                timeout_s=SECONDS_OF_A_WAIT,
                folder=cluster.shared,
                variables={} if cluster.own else variables(),
            ),
            scaling_config=ScalingConfig(
                num_workers=workers.count,
                use_gpu=workers.gpu,
                resources_per_worker=workers.resources,
            ),
            run_config=RunConfig(name=uuid.uuid4().hex, storage_path=cluster.scratch),
        )
        try:
            # Not in the main thread, where Ray Train takes Ctrl-C for itself.
            found: Evaluation = cluster.unless_stopped(trainer.fit).return_value
        except WorkerGroupError as error:
            # One rank's mistake makes the others fail too; only the mistake matters.
            mistakes = filter(None, map(mistake_in, error.worker_failures.values()))
            raise next(mistakes, error) from None
        return found


def _work(settings: dict[str, Any]) -> Evaluation:
    job: Job = settings["job"]
    context = ray.train.get_context()
    torch.set_num_threads(settings["threads"])
    world = World(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    reached(world)
    return job.measure(job.load(), world)
