"""How the workers of a run find one another before torch connects them.

Ray Train would have the first of them serve torch's store on every interface of its machine,
to whoever asks.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from ray.train.backend import Backend
from ray.train.torch import TorchConfig

# torch does not say that it exports these, but documents them as its own.
from torch.distributed import FileStore, Store, TCPStore  # type: ignore[attr-defined]

from distgan.launch.ray.processes import psutil
from distgan.parallel.link import SECONDS_TO_REACH, UnreachableError, within

_LOOPBACK = "127.0.0.1"


def backend(gpu: bool) -> str:
    """What workers speak: NCCL between GPUs, and gloo for what lies in the CPU's memory."""
    return "cpu:gloo,cuda:nccl" if gpu else "gloo"


@dataclass
class Rendezvous(TorchConfig):  # type: ignore[misc]
    """Ray Train's ``TorchConfig`` with a store that no stranger reaches.

    On a cluster of our own the store is a file in ``folder`` and what the workers send one
    another stays on loopback. On a cluster that was joined the first worker serves the store,
    on loopback if all are on its machine, else on the address by which Ray knows it. There
    whoever reaches that address can write to it, as torch has no secret for it.

    With GPUs what lies in the CPU's memory travels by gloo, beside NCCL.

    Args:
        folder: that all workers see and nobody else, or empty on a cluster that was joined.
        variables: of the workers' environment, on a cluster that was joined; what they say of
            NCCL and gloo goes before what is set here.
    """

    folder: str = ""
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def backend_cls(self) -> type[Any]:
        """What sets up the workers."""
        return _Backend


class _Backend(Backend):  # type: ignore[misc]
    share_cuda_visible_devices: bool = True

    def on_start(self, worker_group: Any, backend_config: Rendezvous) -> None:
        """Connect all workers; called each time that they start."""
        size = len(worker_group)
        worker_group.execute(_set_variables)
        if backend_config.folder:
            store = f"{backend_config.folder}/store-{uuid.uuid4().hex}"
            alone = True
        else:
            addresses = worker_group.execute(ray.util.get_node_ip_address)
            alone = len(set(addresses)) == 1
            host = _LOOPBACK if alone else addresses[0]
            seconds = backend_config.timeout_s
            store = worker_group.execute_single(0, _serve, host, size, seconds)
        begun = [
            worker_group.execute_single_async(
                rank, _connect, backend_config, store, rank, size, alone
            )
            for rank in range(size)
        ]
        ray.get(begun)

    def on_shutdown(self, worker_group: Any, backend_config: Rendezvous) -> None:
        """Part in order, unless one of them does not answer."""
        seconds = float(os.environ.get("TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S", "30"))
        begun = worker_group.execute_async(_part)
        with contextlib.suppress(ray.exceptions.GetTimeoutError):
            ray.get(begun, timeout=seconds)


def _set_variables() -> None:
    """What ``torchrun`` sets for each process of a group."""
    context = ray.train.get_context()
    numbers = {
        "LOCAL_RANK": context.get_local_rank(),
        "LOCAL_WORLD_SIZE": context.get_local_world_size(),
        "NODE_RANK": context.get_node_rank(),
        "RANK": context.get_world_rank(),
        "WORLD_SIZE": context.get_world_size(),
    }
    os.environ.update({name: str(number) for name, number in numbers.items()})


def _part() -> None:
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.destroy_process_group()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


failure = ""
"""Why this process could not connect to the others; it is raised where a run can tell it."""


_served: list[TCPStore] = []
"""The store that this process serves, until the process group has taken it over."""


def _serve(host: str, size: int, seconds: int) -> str:
    """Begin to serve torch's store on one address of this machine only; where it is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind((host, 0))
    listener.listen(max(128, size))
    port = listener.getsockname()[1]
    # torch would listen on every interface; it closes the socket that it is given instead.
    _served[:] = [
        TCPStore(
            host,
            port,
            size,
            is_master=True,
            timeout=timedelta(seconds=seconds),
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
        )
    ]
    return f"{host} {port}"


def _connect(config: Rendezvous, where: str, rank: int, size: int, alone: bool) -> None:
    """Make this process one of the group, or set `failure`."""
    global failure
    _choose_interfaces(config, alone)
    try:
        within(SECONDS_TO_REACH, lambda: _join(config, where, rank, size))
        failure = ""
    except UnreachableError as error:
        failure = str(error)


def _choose_interfaces(config: Rendezvous, alone: bool) -> None:
    os.environ.update(config.variables)
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    if config.folder:
        # Nobody else is to hear it, whatever the environment says.
        os.environ.update(dict.fromkeys(names, _loopback_interface()))
    elif alone:
        for name in names:
            os.environ.setdefault(name, _loopback_interface())
    elif config.backend != "gloo":
        # NCCL would take the first interface, and no machine hears another on these.
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "^lo,docker,veth")
    if config.backend != "gloo":
        # As Ray Train does: a worker that waits for a lost one ends.
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")


def _join(config: Rendezvous, where: str, rank: int, size: int) -> None:
    timeout = timedelta(seconds=config.timeout_s)
    store: Store
    if config.folder:
        store = FileStore(where, size)
    elif rank == 0:
        store = _served.pop()
    else:
        host, port = where.split()
        store = TCPStore(host, int(port), size, timeout=timeout, wait_for_workers=False)
    store.set_timeout(timeout)
    dist.init_process_group(
        config.backend, store=store, rank=rank, world_size=size, timeout=timeout
    )


def _loopback_interface() -> str:
    """The name of the interface that has 127.0.0.1, which differs between systems."""
    name: str
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == _LOOPBACK for address in addresses):
            return name
    return "lo"
