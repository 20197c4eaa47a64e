"""Whether every node of a cluster reads and writes a run's folder, and reads its data."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distgan.data.images import ImageSet
from distgan.errors import UserError
from distgan.storage.storage import Storage

_SECONDS = 120
"""For all nodes together, of which a new one has to start a process."""


def probe(storage: Storage, images: ImageSet) -> None:
    """Write a small file, have every node read it and write its own, and read those.

    Costs about a second on a cluster of several nodes, and nothing on one of one node.

    Raises:
        UserError: naming the first node that cannot, and the remedy.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and _works(node)]
    if len(nodes) < 2:
        return
    word = uuid.uuid4().hex
    prefix = f".probe-{word[:8]}"
    storage.write(prefix, word)
    try:
        # By their ids: several nodes of a cluster may have one address.
        answers = [f"{prefix}-{node['NodeID']}" for node in nodes]
        tasks = [
            _look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(storage.anywhere(), prefix, answer, images)
            for node, answer in zip(nodes, answers, strict=True)
        ]
        ray.wait(tasks, num_returns=len(tasks), timeout=_SECONDS)
        for node, task, answer in zip(nodes, tasks, answers, strict=True):
            _check(storage, images, node["NodeManagerAddress"], task, answer, word)
    finally:
        with contextlib.suppress(OSError, UserError):
            for name in storage.names():
                if name.startswith(prefix):
                    storage.delete(name)


def _works(node: dict[str, Any]) -> bool:
    return any(node["Resources"].get(name, 0) for name in ("CPU", "GPU"))


@ray.remote(num_cpus=0, max_retries=0)  # type: ignore[untyped-decorator]
def _look(out: str, name: str, answer: str, images: ImageSet) -> tuple[str, str]:
    """What this node says of the run's folder and of the data; empty when it can."""
    storage, folder, data = Storage(out), "", ""
    try:
        word = storage.read_text(name)
        storage.write(answer, word)
    except (OSError, UserError) as error:
        folder = str(error).split("; ")[0]
    try:
        with images.filesystem.open_input_file(images.files[0]):
            pass
    except OSError as error:
        data = str(error)
    return folder, data


def _check(
    storage: Storage, images: ImageSet, address: str, task: Any, answer: str, word: str
) -> None:
    try:
        folder, data = ray.get(task, timeout=0)
    except ray.exceptions.GetTimeoutError:
        raise UserError(
            f"node {address}: has not looked at {storage.uri} within {_SECONDS} s; see whether "
            "the node or its storage hangs"
        ) from None
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"node {address}: cannot run distgan ({reason}); install the same distgan and Ray on "
            "every node"
        ) from None
    if not folder and (not storage.exists(answer) or storage.read_text(answer) != word):
        folder = "what it writes does not arrive here"
    if folder:
        raise UserError(
            f"--out {storage.uri}: node {address} does not share it ({folder}); give a folder on "
            "a filesystem that all nodes mount at the same place, such as NFS, or an address "
            "such as s3://bucket/run"
        )
    if data:
        raise UserError(
            f"--data {images.uri}: node {address} cannot read it ({data}); put it where all nodes "
            "find it under the same name, or give an address such as s3://bucket/set"
        )
