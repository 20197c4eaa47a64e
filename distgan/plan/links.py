"""The bandwidth that a prediction assumes, to set beside a measured one."""

from __future__ import annotations

from distgan.plan.devices import GPUS, network
from distgan.plan.model import Link
from distgan.plan.planner import LOOPBACK

ACROSS = Link(12.5e9, 0.0)
"""Between nodes: the default ``--bandwidth`` of `distgan plan`, 100 Gbit/s."""


def assumed_bandwidth(device: str, nodes: int) -> float | None:
    """Bytes a second each way of the slowest link between workers; None where none is known.

    Args:
        device: ``cpu``, or a GPU's name as torch gives it, such as ``NVIDIA H100 80GB HBM3``.
        nodes: on which the workers are.
    """
    if nodes > 1:
        return ACROSS.bandwidth
    if device == "cpu":
        return LOOPBACK.bandwidth
    words = device.lower().replace("-", " ").split()
    # The data sheets are those of GPUs that NVLink joins, where a GPU comes with and without.
    if "pcie" in words:
        return None
    for name, gpu in GPUS.items():
        if name in words:
            return network(gpu, ACROSS).inside.bandwidth
    return None
