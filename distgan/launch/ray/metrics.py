"""A run's newest record as metrics of the Ray cluster, for Prometheus."""

from __future__ import annotations

import os

from ray.util.metrics import Gauge

from distgan.health.diagnosis import HEALTHY
from distgan.training.control import Status

GAUGES = {
    "images_per_second": "Real images trained on in a second, over all workers",
    "d_real": "Mean of D(x), the discriminator's probability for reals",
    "d_fake": "Mean of D(G(z)) in the discriminator's update",
    "d_loss": "The discriminator's loss",
    "g_loss": "The generator's loss",
    "data_wait": "Share of time in which the step waits for data",
}
"""Values of a record that are exported, as ``ray_distgan_NAME``, and what they are."""

SEEN, HEALTH = "images_seen", "healthy"


class Gauges:
    """Exports nothing where the cluster collects nothing, as one of our own does."""

    def __init__(self, run: str) -> None:
        self._gauges: dict[str, Gauge] = {}
        if os.environ.get("RAY_enable_metrics_collection", "1") in ("0", "false"):  # noqa: SIM112
            return
        texts = {**GAUGES, SEEN: "Real images trained on", HEALTH: "1 while the run is healthy"}
        for name, text in texts.items():
            self._gauges[name] = Gauge(f"distgan_{name}", text, tag_keys=("run",))
            self._gauges[name].set_default_tags({"run": run})

    def set(self, status: Status) -> None:
        """Take over what a status says."""
        if not self._gauges:
            return
        self._gauges[SEEN].set(status.images_seen)
        for name in GAUGES:
            value = status.record.get(name)
            if isinstance(value, (int, float)):
                self._gauges[name].set(value)
        health = status.record.get("health")
        if health is not None:
            self._gauges[HEALTH].set(float(health == HEALTHY))
