"""Environment variables that Ray reads as it is imported."""

from __future__ import annotations

import os

_OWN_CLUSTER = {
    # Named for other systems, it makes every server of the cluster listen on 127.0.0.1 only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # Nothing gives notice of taking a laptop away, and the watcher is a process of its own.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # The end of training is noticed at the next poll.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
}


def prepare_own_cluster() -> None:
    """Make a cluster started by this process private, quiet and quick to end.

    What the user has set stays. Has its full effect only before Ray's first import.
    """
    for name, value in _OWN_CLUSTER.items():
        os.environ.setdefault(name, value)
