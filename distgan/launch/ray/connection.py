"""The first exchange of the workers: whether they reach one another, and how fast."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist

from distgan.errors import UserError
from distgan.launch.ray import rendezvous
from distgan.launch.ray.messages import Channel
from distgan.parallel import World, link
from distgan.parallel.groups import GROUPS

_REACHED = "reached"
"""Topic of the message that the workers of this run once reached one another."""
_PASSED_ON = ("NCCL_", "TORCH_NCCL_", "GLOO_", "TORCH_GLOO_")
"""What begins the variables by which users tell NCCL and gloo of their network."""


def variables() -> dict[str, str]:
    """What the driver's environment says of the network, for the workers on other machines."""
    return {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}


def reached(world: World) -> None:
    """See that this worker is connected to the others.

    Raises:
        UserError: when it is not.
    """
    if rendezvous.failure:
        gpu = world.device.type == "cuda"
        raise UserError(link.explain(world.rank, rendezvous.failure, gpu))


def connect(world: World, channel: Channel) -> dict[str, Any]:
    """Make the groups of a step and time an exchange; all workers must call it.

    Returns:
        ``link`` for ``environment.json``: what was measured, and as ``planned`` the bytes a
        second that `distgan plan` assumes, where it knows the device; nothing for one worker.

    Raises:
        UserError: when the workers do not reach one another, and never have.
        torch.distributed.DistNetworkError: when they once have, so that they may again.
    """
    if world.size == 1:
        return {}
    found: dict[str, Any] = {}

    def exchange() -> None:
        if world.device.type == "cuda":
            torch.cuda.set_device(world.device)
        GROUPS.separate(world.device)
        found.update(link.measure(world))

    try:
        if rendezvous.failure:
            raise link.UnreachableError(rendezvous.failure)
        # Not all are here yet, which is no sign of a network that does not work.
        world.meet()
        link.within(link.SECONDS_TO_REACH, exchange)
    except link.UnreachableError as error:
        text = link.explain(world.rank, str(error), world.device.type == "cuda")
        if channel.get(_REACHED) is None:
            raise UserError(text) from error
        raise dist.DistNetworkError(text) from error
    # Of which no run of one worker has need.
    from distgan.plan.links import assumed_bandwidth

    machines = {facts["machine"] for facts in world.gather(world.describe())}
    name = world.describe()["device"]
    if world.leads:
        channel.put(_REACHED, True)
    return {"link": {**found, "planned": assumed_bandwidth(name, len(machines))}}
