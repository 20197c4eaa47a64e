"""What has to be right around Ray before it is imported."""

from __future__ import annotations

import os
import socket

from distgan.errors import UserError, brief

_OWN_CLUSTER = {
    # Named for other systems, it makes every server of the cluster listen on 127.0.0.1 only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
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


def prepare_own_cluster() -> None:
    """Make a cluster started by this process private, quiet and quick to end.

    What the user has set stays. Has its full effect only before Ray's first import.
    """
    for name, value in _OWN_CLUSTER.items():
        os.environ.setdefault(name, value)


def check_address(address: str) -> None:
    """See that something listens at ``host:port``; Ray itself tries for minutes.

    Raises:
        UserError: when nothing does.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not (port.isascii() and port.isdigit()):
        return  # "auto", "local" and the like: Ray knows at once.
    if len(port) > 5 or int(port) > 65_535:
        raise UserError(f"--address {brief(address)}: a port is a number up to 65535")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    # UnicodeError: a name with parts longer than names on the Internet may be.
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"--address {address}: no Ray cluster answers there ({error}); start one with "
            "`ray start --head`, or leave --address and RAY_ADDRESS out, or use --workers 0"
        ) from None
