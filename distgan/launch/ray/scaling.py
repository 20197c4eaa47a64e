"""Clusters that start their machines when a job asks for them: asking, and waiting."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import ray
import yaml
from ray.util.placement_group import placement_group, remove_placement_group

from distgan.errors import UserError
from distgan.launch.ray import private
from distgan.launch.ray.workers import Asked, Device, Node, least_of

_CONFIGURATION = Path("~/ray_bootstrap_config.yaml")
"""What ``ray up`` leaves on the head of a cluster, where jobs that are sent to it start."""
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_LINES = 60.0
_BY_THE_AUTOSCALER = "ray status on the head says what it does"


class Growth(NamedTuple):
    """What a cluster may have at most; None where only that it grows is known."""

    gpus: int | None
    cpus: int | None


def growth() -> Growth | None:
    """What the autoscaler of the cluster that this process is connected to may start.

    Returns:
        None where the cluster has as many machines as it has.
    """
    try:
        return read_configuration(_CONFIGURATION.expanduser().read_text())
    except (OSError, RuntimeError):
        pass
    if private.usable():
        from distgan.launch.ray.private.core import autoscaling_status

        if grows(autoscaling_status()):
            return Growth(None, None)
    return None


def read_configuration(text: str) -> Growth | None:
    """The most that a configuration for ``ray up`` allows; None where it allows nothing new."""
    try:
        found = yaml.safe_load(text)
        if found["provider"]["type"] == "local":
            return None  # A list of machines, all of which are there.
        kinds = found["available_node_types"]
        most = int(found.get("max_workers", sys.maxsize))
        head = found.get("head_node_type")
        gpus = cpus = 0
        for name, kind in kinds.items():
            count = 1 if name == head else min(most, int(kind.get("max_workers", 0)))
            has = kind.get("resources") or {}
            gpus += count * int(has.get("GPU", 0))
            cpus += count * int(has.get("CPU", 0))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        return None
    others = [kind for name, kind in kinds.items() if name != head and kind.get("max_workers")]
    if not others:
        return None
    known = all(kind.get("resources") for kind in others)
    return Growth(gpus, cpus) if known else Growth(None, None)


def grows(status: str | None) -> bool:
    """Whether the status that Ray's monitor keeps is that of an autoscaler with node types.

    Without one the monitor names each node's type by the node's own number.
    """
    try:
        report = json.loads(status or "{}").get("autoscaler_report") or {}
    except ValueError:
        return False
    # The head alone is there on a cluster that starts from nothing.
    names = [*(report.get("active_nodes") or {}), *(report.get("node_type_mapping") or {}).values()]
    return any(not name.startswith("node_") for name in names)


class Wanted(NamedTuple):
    """What is to be asked of the autoscaler, and the kind of device that is meant."""

    device: Device
    bundles: list[dict[str, float]]
    """What each worker needs; empty where all is there."""


def wanted(
    asked: Asked, device: Device, nodes: Sequence[Node], may: Growth, threads: int | None = None
) -> Wanted:
    """What a number of workers needs beyond the nodes that are there.

    Without a number it is one worker, as more machines cost more: whoever wants them says so.
    A number that follows the cluster waits by itself.

    Args:
        nodes: that are there now.
        may: what the cluster may come to.
        threads: CPUs for each worker; None for at least one.

    Raises:
        UserError: when there never is that much, or it is not known which device is meant.
    """
    gpus, cpus = sum(node.gpus for node in nodes), sum(node.cores for node in nodes)
    count = max(least_of(asked), 1)
    if device == "auto" and not gpus:
        if may.gpus is None:
            raise UserError(
                "--device auto: this cluster starts its machines when they are asked for, and has "
                "none with a GPU now; say --device gpu to wait for some, or --device cpu"
            )
        device = "gpu" if may.gpus else "cpu"
    if device == "auto":
        device = "gpu"
    most = may.gpus if device == "gpu" else may.cpus
    what = "GPUs" if device == "gpu" else "CPUs"
    if most is not None and count > most:
        raise UserError(
            f"--workers {count}: more than the {most} {what} that this cluster may have; use "
            f"--workers {most} or fewer, or raise max_workers in its configuration"
            if most
            else f"--device {device}: no kind of machine of this cluster has {what}"
        )
    each = {"CPU": float(threads or 1), **({"GPU": 1.0} if device == "gpu" else {})}
    there = gpus if device == "gpu" else cpus // (threads or 1)
    if isinstance(asked, tuple) or there >= count:
        return Wanted(device, [])
    return Wanted(device, [each] * count)


def wait_for(
    bundles: list[dict[str, float]],
    note: Callable[[str], object],
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Ask the autoscaler for room for all bundles, and wait until it is there.

    What was asked for is given up when this process ends, however it does: machines that
    nobody uses go again after the idle time of the cluster.

    Args:
        note: takes a line for the user, each time that machines have come.
        stopped: ends the wait.
    """
    if not bundles:
        return
    what = "GPU" if "GPU" in bundles[0] else "CPU"
    total = int(sum(bundle[what] for bundle in bundles))
    group = placement_group(bundles, strategy="PACK")
    said, at = -1, 0.0
    try:
        while not stopped():
            there = min(int(ray.cluster_resources().get(what, 0)), total)
            now = time.monotonic()
            if there != said or now - at > _SECONDS_BETWEEN_LINES:
                said, at = there, now
                note(
                    f"waiting for machines: {there} of {total} {what}s are there, the rest is "
                    f"asked of the cluster's autoscaler; {_BY_THE_AUTOSCALER}"
                )
            if group.wait(_SECONDS_BETWEEN_LOOKS):
                return
    finally:
        remove_placement_group(group)
