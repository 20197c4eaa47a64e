"""What has to be right around Ray before it is imported."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from distgan.errors import UserError, printable
from distgan.launch.ray import private

_LOOPBACK = {
    # Named for other systems, it makes every server of the cluster listen on 127.0.0.1 only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
_OWN_CLUSTER = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # Nothing gives notice of taking a laptop away, and the watcher is a process of its own.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # By default all else on the machine comes before Ray's workers; training without Ray is
    # a program as any other.
    "RAY_worker_niceness": "0",
    # Its words are for the log of a process of its own; here it is a part of the driver.
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    # The end of training is noticed at the next poll; every poll disturbs the worker.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    # Bookkeeping for a dashboard and an autoscaler that are not there takes processor time
    # from training.
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_raylet_report_resources_period_milliseconds": "1000",
    "RAY_report_worker_backlog_interval_ms": "10000",
    "RAY_gcs_pull_resource_loads_period_milliseconds": "10000",
    "RAY_io_context_monitor_probe_interval_ms": "60000",
    "RAY_io_context_event_loop_lag_collection_interval_ms": "60000",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    # Looked for five to ten times a second by default.
    "RAY_raylet_check_gc_period_milliseconds": "1000",
    "RAY_kill_idle_workers_interval_ms": "1000",
}

SHOW_ALL_OF_ROCM = "RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES"
"""Has Ray leave a worker all of AMD's GPUs to see. Ray Train counts on that, as it gives each
worker the number of its own among those of the machine."""


def prepare_own_cluster() -> None:
    """Make a cluster started by this process private, quiet and quick to end.

    What the user has set stays, except for what would let others than this machine's processes
    reach the cluster. Has its full effect only before Ray's first import.
    """
    require_train_v2()
    _prepared.look()
    os.environ.update(_LOOPBACK)
    for name, value in _OWN_CLUSTER.items():
        os.environ.setdefault(name, value)
    torch = sys.modules.get("torch")
    if torch is not None and torch.version.hip:
        os.environ.setdefault(SHOW_ALL_OF_ROCM, "1")


class _Prepared:
    """Whether the variables of `_LOOPBACK` were there when Ray was first imported."""

    def __init__(self) -> None:
        self.before_import: bool | None = None

    def look(self) -> None:
        """Called before the variables are set."""
        if self.before_import is None:
            there = all(os.environ.get(name) == value for name, value in _LOOPBACK.items())
            self.before_import = there or "ray" not in sys.modules


_prepared = _Prepared()


def require_train_v2() -> None:
    """See that Ray Train is the one that this package is written for.

    Raises:
        UserError: when the environment asks for the older one.
    """
    value = os.environ.get("RAY_TRAIN_V2_ENABLED", "1")
    if value.lower() not in ("1", "true"):
        raise UserError(
            f"RAY_TRAIN_V2_ENABLED={printable(value)}: asks for Ray's older Train, on which "
            "distgan does not run; unset it, or use --workers 0"
        )


@contextlib.contextmanager
def on_loopback(token: str, folder: str) -> Iterator[None]:
    """Keep what Ray starts meanwhile on loopback, closed to all who cannot read ``token``.

    The environment is as before at the end. By Ray's documented interface it has its effect
    only where Ray was first imported after `prepare_own_cluster`.

    Args:
        token: file with the secret that Ray's processes ask one another for.
        folder: in which Ray makes one for its logs and sockets, and opens that to all users.

    Raises:
        UserError: when Ray would listen on other interfaces.
    """
    settings: dict[str, str | None] = {
        **_LOOPBACK,
        # Left open, it is what `ray.init` sets it to, and reads again.
        "RAY_AUTH_MODE": None,
        "RAY_AUTH_TOKEN_PATH": token,
        "RAY_AUTH_TOKEN": None,
        "RAY_TMPDIR": folder,
    }
    with contextlib.ExitStack() as stack:
        if private.usable():
            from distgan.launch.ray.private.core import local_addresses

            stack.enter_context(local_addresses())
            settings["RAY_AUTH_MODE"] = "token"
        elif not _prepared.before_import:
            raise UserError(
                "Ray was imported before distgan could keep it on loopback; set "
                f"{next(iter(_LOOPBACK))}=0 before Python starts, or import Ray later"
            )
        stack.enter_context(authentication(settings))
        yield


@contextlib.contextmanager
def authentication(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Change variables, None to remove one, and have Ray read its token and mode anew."""
    kept = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(kept)


def _set(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if private.usable():
        from distgan.launch.ray.private.core import read_authentication

        read_authentication()


def token_is_at_hand() -> bool:
    """Whether Ray would find a token that nothing in the environment tells it to use."""
    if "RAY_AUTH_MODE" in os.environ:
        return False
    if private.usable():
        from distgan.launch.ray.private.core import has_token

        return has_token()
    # Where Ray's documentation says that it looks.
    return (Path.home() / ".ray" / "auth_token").is_file()
