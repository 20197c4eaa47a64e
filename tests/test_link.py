"""Ranks that do not reach one another, and how fast those send that do."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from distgan.launch.ray import connection, rendezvous
from distgan.launch.ray.rendezvous import Rendezvous
from distgan.parallel import World, link
from distgan.parallel.devices import describe, driver
from distgan.plan.devices import GPUS
from distgan.plan.links import ACROSS, assumed_bandwidth

from . import ranks

pytestmark = pytest.mark.alone


def test_what_hangs_is_left() -> None:
    over = threading.Event()
    start = time.monotonic()
    with pytest.raises(link.UnreachableError, match="no answer for 0 s"):
        link.within(0.05, over.wait)
    assert time.monotonic() - start < 5
    over.set()
    done: list[int] = []
    link.within(5, lambda: done.append(1))
    assert done == [1]


def test_what_fails_is_told_without_its_place() -> None:
    def fail() -> None:
        raise RuntimeError(
            "[enforce fail at device.cc:84] x != null. No address for: nonsense\n\nT"
        )

    with pytest.raises(link.UnreachableError, match=r"^x != null\. No address for: nonsense$"):
        link.within(5, fail)


def test_the_explanation_names_interface_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"NCCL_SOCKET_IFNAME": "ib7", "NCCL_IB_HCA": "mlx5"})
    assert "(no interface is set; its interfaces: lo" in link.explain(1, "no answer", False)
    text = link.explain(1, "no answer for 45 s", True)
    assert "worker 1 on " in text
    assert "no answer for 45 s (NCCL_SOCKET_IFNAME=ib7, NCCL_IB_HCA=mlx5; its interfaces" in text
    assert "set NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME to" in text


@pytest.mark.parametrize(
    ("backend", "folder", "alone", "given", "gloo", "nccl"),
    [
        # On a cluster of our own nothing leaves loopback, whatever was set.
        ("gloo", "/tmp/x", True, {"GLOO_SOCKET_IFNAME": "eth0"}, "LO", "LO"),
        ("gloo", "", True, {}, "LO", "LO"),
        ("gloo", "", True, {"GLOO_SOCKET_IFNAME": "eth0"}, "eth0", "LO"),
        ("gloo", "", False, {}, None, None),
        ("cpu:gloo,cuda:nccl", "", False, {}, None, "^lo,docker,veth"),
        ("cpu:gloo,cuda:nccl", "", False, {"NCCL_SOCKET_IFNAME": "ib0"}, None, "ib0"),
    ],
)
def test_interfaces(
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    folder: str,
    alone: bool,
    given: dict[str, str],
    gloo: str | None,
    nccl: str | None,
) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(rendezvous, "_loopback_interface", lambda: "LO")
    config = Rendezvous(backend=backend, folder=folder, variables=given)
    rendezvous._choose_interfaces(config, alone)
    assert os.environ.get("GLOO_SOCKET_IFNAME") == gloo
    assert os.environ.get("NCCL_SOCKET_IFNAME") == nccl


def test_what_the_driver_passes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "NCCL_DEBUG": "WARN",
        "GLOO_SOCKET_IFNAME": "eth1",
        "TORCH_NCCL_TRACE_BUFFER_SIZE": "1",
    }
    monkeypatch.setattr(os, "environ", {**given, "HOME": "/root", "AWS_SECRET": "x"})
    assert connection.variables() == given


def test_gpus_speak_gloo_for_what_lies_on_the_cpu() -> None:
    assert rendezvous.backend(gpu=True) == "cpu:gloo,cuda:nccl"
    assert rendezvous.backend(gpu=False) == "gloo"


def test_the_planned_bandwidth() -> None:
    assert assumed_bandwidth("NVIDIA H100 80GB HBM3", 1) == 0.8 * GPUS["h100"].link
    assert assumed_bandwidth("NVIDIA A100-SXM4-80GB", 1) == 0.8 * GPUS["a100"].link
    assert assumed_bandwidth("NVIDIA A100-PCIE-40GB", 1) is None
    assert assumed_bandwidth("AMD Instinct MI300X", 1) is None
    assert assumed_bandwidth("NVIDIA H100 80GB HBM3", 2) == ACROSS.bandwidth
    assert assumed_bandwidth("cpu", 1) == 1e9


def test_a_ranks_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert set(describe(torch.device("cpu"))) == {"machine", "device"}
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n")
    monkeypatch.setattr("distgan.parallel.devices._DRIVER", version)
    assert driver() == "580.65.06"
    version.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
    )
    assert driver() == "570.86.15"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr("distgan.parallel.devices._nccl", lambda: "2.29.3")
    found = describe(torch.device("cuda:0"))
    assert found.pop("machine")
    assert found == {
        "device": "NVIDIA H100",
        "cuda": "13.0",
        "cudnn": "91002",
        "nccl": "2.29.3",
        "driver": "570.86.15",
    }


def _measured(world: World) -> dict[str, Any]:
    start = time.perf_counter()
    found = link.measure(world)
    return {**found, "cost": time.perf_counter() - start}


@pytest.mark.slow
def test_what_is_measured_is_the_same_on_all_ranks(tmp_path: Path) -> None:
    one, other = ranks.on_ranks(2, _measured, tmp_path)
    print(one)
    assert {**one, "cost": 0} == {**other, "cost": 0}
    # A ring of two sends each half once and gets the other.
    assert one["bytes_per_second"] == pytest.approx(one["bytes"] / one["seconds"], rel=0.01)
    assert one["bytes"] in (1_000_000, 8_000_000)
