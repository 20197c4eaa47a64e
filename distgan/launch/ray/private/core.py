"""Ray's core, of 2.60: its addresses, tokens, printing, helper processes, and key-value store."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import ray
from ray import _raylet
from ray._private import ray_constants
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put
from ray.job_config import JobConfig

_NAMESPACE = "distgan"
_ACTORS_FOR_READING = (
    ("datasets_stats_actor", "_dataset_stats_actor"),
    ("AutoscalingCoordinator", "AutoscalingCoordinator"),
)
"""Names and namespaces of actors: Ray Data's statistics, and requests for more nodes."""


@contextlib.contextmanager
def local_addresses() -> Iterator[None]:
    """Have Ray take 127.0.0.1 for this machine's address, also where it is imported already."""
    kept = ray_constants.ENABLE_RAY_CLUSTER
    # Ray reads its variable once, when it is imported.
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = kept


def read_authentication() -> None:
    """Have Ray read its mode of authentication and its token from the environment anew."""
    native: Any = _raylet
    native.Config.initialize("")
    native.AuthenticationTokenLoader.instance().reset_cache()


def has_token() -> bool:
    """Whether Ray finds a token, whatever its mode of authentication is."""
    native: Any = _raylet
    # Somebody may have written the file since Ray looked for it.
    native.AuthenticationTokenLoader.instance().reset_cache()
    return bool(native.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))


@contextlib.contextmanager
def without_prints() -> Iterator[None]:
    """Keep Ray from printing the death of every process; distgan tells of them in one line."""
    worker: Any = ray._private.worker
    kept = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = kept


def end_helpers(log_monitor: bool) -> None:
    """End the autoscaler and the dashboard's process of a cluster that this process started.

    Args:
        log_monitor: end also the process that brings the workers' output to the driver.
    """
    worker: Any = ray._private.worker
    if (node := worker._global_node) is None:
        return
    node.kill_monitor(check_alive=False)
    # It is there also where no dashboard is wanted.
    node.kill_dashboard(check_alive=False)
    if log_monitor:
        node.kill_log_monitor(check_alive=False)


def end_actors_for_reading() -> None:
    """End the actors that Ray Data started, once nothing is read any more."""
    for name, namespace in _ACTORS_FOR_READING:
        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(name, namespace))


class SamePackage(JobConfig):  # type: ignore[misc]
    """A job whose workers import the package that the driver runs; see `import_paths`."""

    def _serialize(self) -> str:
        from distgan.launch.ray.imports import import_paths

        self._py_driver_sys_path: list[str] = import_paths(self._py_driver_sys_path)
        text: str = super()._serialize()
        return text


class KeyValueMailbox:
    """Messages through the key-value store that is part of every Ray cluster.

    Args:
        key: names the run; its driver chooses it.
    """

    def __init__(self, key: str) -> None:
        self.key = key

    def put(self, topic: str, message: Any) -> None:
        """Replace the message under a topic; anything JSON can hold."""
        _internal_kv_put(f"{self.key}/{topic}", json.dumps(message), namespace=_NAMESPACE)

    def get(self, topic: str) -> Any:
        """The message under a topic, or None."""
        content = _internal_kv_get(f"{self.key}/{topic}", namespace=_NAMESPACE)
        return None if content is None else json.loads(content)

    def remove(self, topic: str) -> None:
        """Remove the message under a topic."""
        _internal_kv_del(f"{self.key}/{topic}", namespace=_NAMESPACE)

    def clear(self) -> None:
        """Remove all messages of the run."""
        _internal_kv_del(self.key, del_by_prefix=True, namespace=_NAMESPACE)


def autoscaling_status() -> str | None:
    """What Ray's monitor last wrote of itself, as JSON; None where it wrote nothing."""
    content = _internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS)
    return None if content is None else bytes(content).decode(errors="replace")
