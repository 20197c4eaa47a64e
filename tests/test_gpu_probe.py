"""GPUs that torch cannot use, and nodes that differ, told in a sentence; with doubles."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distgan.errors import UserError
from distgan.launch import gpus
from distgan.launch.ray import environment, gpu_probe
from distgan.launch.ray.gpu_probe import GpuFacts, compare
from distgan.launch.ray.workers import check_gpus

GOOD = GpuFacts("2.13.0+cu130", "13.0", None, "2.29.3", 1, "NVIDIA H200", 140 * 10**9)


def _nodes(**other: object) -> dict[str, GpuFacts]:
    """Three nodes, the second of which differs."""
    return {"10.0.0.1": GOOD, "10.0.0.2": replace(GOOD, **other), "10.0.0.3": GOOD}  # type: ignore[arg-type]


def test_nodes_that_are_alike_are_passed_over() -> None:
    assert compare(_nodes(), 3) == []
    assert compare({}, 1) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"count": 0, "torch": "2.13.0+cpu", "cuda": None}, "cannot use the GPU .* build for CPUs"),
        ({"count": 0}, r"CUDA 13\.0, for which the driver may be too old"),
        ({"torch": "2.12.1+cu130"}, r"has torch 2\.12\.1\+cu130, where 2 have 2\.13\.0\+cu130"),
        ({"cuda": "12.8"}, r"has cuda 12\.8, where 2 have 13\.0"),
        ({"hip": "7.0"}, r"has hip 7\.0, where 2 have none"),
        ({"nccl": "2.27.5"}, r"has nccl 2\.27\.5, where 2 have 2\.29\.3"),
        ({"nccl": ""}, "has no NCCL"),
        ({"name": "NVIDIA H200 MIG 1g.18gb"}, "slice of a GPU .* use --workers 1"),
    ],
)
def test_the_odd_node_is_named(other: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=rf"^node 10\.0\.0\.2: .*{said}"):
        compare(_nodes(**other), 3)


def test_what_is_slower_is_told() -> None:
    (line,) = compare(_nodes(name="Tesla T4"), 3)
    assert line.startswith("node 10.0.0.2 has Tesla T4, where 2 have NVIDIA H200; ")
    (line,) = compare(_nodes(free=3 * 10**9), 3)
    assert "node 10.0.0.2 has only 3.0 GB of its GPU's memory free, where others have 140.0" in line


def test_one_worker_needs_no_nccl() -> None:
    alone = {"here": replace(GOOD, nccl="", name="NVIDIA H200 MIG 1g.18gb")}
    assert compare(alone, 1) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="for a torch without GPUs")
def test_this_process_sees_none() -> None:
    facts = gpu_probe.look()
    assert (facts.torch, facts.count, facts.name) == (torch.__version__, 0, "")


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    monkeypatch.setattr(gpus, "_DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.parametrize(
    ("cuda", "said"),
    [
        (None, r"\(it is a build for CPUs\)"),
        ("13.0", r"\(it is built for CUDA 13.0, for which the driver may be too old\)"),
    ],
)
def test_gpus_that_torch_cannot_use(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch, cuda: str | None, said: str
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    with pytest.raises(UserError, match=rf"--device gpu: torch .* any of the 2 NVIDIA .*{said}"):
        check_gpus(1, "gpu", 0, gpus.unseen())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.unseen() == "", "nobody wants them"


def test_gpus_that_torch_can_use(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert gpus.unseen() == ""


def test_training_on_cpus_beside_gpus_is_told(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import distgan

    said: list[str] = []

    class Display:
        def start(self, plan: object) -> None: ...
        def progress(self, status: object) -> None: ...
        def note(self, text: str, kind: str = "") -> None:
            said.append(text)

    config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), {"images": 128, "batch": 64})
    for device in ("auto", "cpu"):
        out = str(tmp_path / device)
        distgan.train(config, out=out, workers=0, device=device, display=Display())  # type: ignore[arg-type]
    assert sum(line.startswith("training on CPUs: torch ") for line in said) == 1


@pytest.mark.ray
@pytest.mark.slow
def test_where_ray_counts_a_gpu_that_torch_cannot_use(distgan: object) -> None:
    """Ray told to count one trains on CPUs, not into a traceback."""
    done = distgan(  # type: ignore[operator]
        *("train", "mnist-mlp", "--images", "256", "--batch", "64", "--workers", "2"),
        *("--out", "run"),
        RAY_OVERRIDE_RESOURCES='{"GPU":1}',
    )
    assert done.returncode == 0, done.stderr
    assert "2 workers of 1 CPU thread each" in done.stdout


def test_gpus_of_other_kinds_are_said_to_be_unused(
    two_gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in tmp_path.glob("nvidia*"):
        path.unlink()
    assert gpus.unseen() == ""
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    with pytest.raises(UserError, match=r"--device gpu: distgan does not use the Intel GPU .*XPU"):
        check_gpus(1, "gpu", 0, gpus.unseen())
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert gpus.unseen() == "distgan does not use this Mac's GPU (MPS)"


def test_slices_of_a_gpu_are_for_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus.check_slices(2, "auto")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-3f2a,MIG-77c1")
    for few in (None, 0, 1, (1, 4)):
        gpus.check_slices(few, "gpu")
    gpus.check_slices(2, "cpu")
    with pytest.raises(UserError, match=r"--workers 2: .* slices .*\(MIG\).*use --workers 1"):
        gpus.check_slices(2, "auto")


def test_rocm_shows_workers_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    name = environment.SHOW_ALL_OF_ROCM
    monkeypatch.setattr(os, "environ", {**os.environ})
    monkeypatch.setattr(torch.version, "hip", None)
    environment.prepare_own_cluster()
    assert name not in os.environ
    monkeypatch.setattr(torch.version, "hip", "7.0")
    environment.prepare_own_cluster()
    assert os.environ[name] == "1"
    amd = replace(GOOD, cuda=None, hip="7.0", name="AMD Instinct MI300X", hidden=True)
    assert compare({"a": amd, "b": amd}, 2) == [], "one on each node"
    (line,) = compare({"a": amd}, 2)
    assert line.endswith(f"start Ray there with {name}=1")
    assert compare({"a": replace(amd, hidden=False)}, 8) == []
