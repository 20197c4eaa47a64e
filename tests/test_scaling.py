"""Clusters that start from nothing: what is asked for, when, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from distgan.errors import UserError
from distgan.launch.ray import scaling
from distgan.launch.ray.processes import psutil
from distgan.launch.ray.scaling import Growth, Wanted, grows, read_configuration, wanted
from distgan.launch.ray.workers import Node

from .conftest import command

HEAD = [Node(0)]
GPU = {"CPU": 1.0, "GPU": 1.0}
KNOWN, UNKNOWN = Growth(4, 16), Growth(None, None)


@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_gpus_are_asked_for(device: str) -> None:
    assert wanted(4, device, HEAD, KNOWN) == Wanted("gpu", [GPU] * 4)  # type: ignore[arg-type]
    # One of them is there: all are asked for, as the autoscaler counts what there is.
    assert wanted(4, device, [Node(0), Node(4, 1)], KNOWN) == Wanted("gpu", [GPU] * 4)  # type: ignore[arg-type]
    some = wanted(2, device, HEAD, KNOWN, threads=8)  # type: ignore[arg-type]
    assert some.bundles == [{"CPU": 8.0, "GPU": 1.0}] * 2


def test_cpus_are_never_taken_where_gpus_may_be_meant() -> None:
    """The head's CPUs would do, and nobody has said that they are meant."""
    head = [Node(8)]
    assert wanted(4, "auto", head, KNOWN).device == "gpu"
    assert wanted((1, 4), "auto", head, KNOWN) == Wanted("gpu", [])
    with pytest.raises(UserError, match=r"--device auto: .* --device gpu .* --device cpu"):
        wanted(4, "auto", head, UNKNOWN)
    assert wanted(4, "cpu", head, KNOWN) == Wanted("cpu", [])
    assert wanted(4, "auto", head, Growth(0, 16)) == Wanted("cpu", [])
    assert wanted(9, "auto", head, Growth(0, 16)) == Wanted("cpu", [{"CPU": 1.0}] * 9)


def test_without_a_number_one_is_asked_for() -> None:
    assert wanted(None, "gpu", HEAD, UNKNOWN) == Wanted("gpu", [GPU])
    assert wanted(None, "auto", [Node(8, 2)], UNKNOWN) == Wanted("gpu", []), "those that are there"


@pytest.mark.parametrize(
    ("asked", "device", "may", "said"),
    [
        (5, "gpu", KNOWN, "--workers 5: more than the 4 GPUs that this cluster may have"),
        (17, "cpu", KNOWN, "--workers 17: more than the 16 CPUs"),
        (1, "gpu", Growth(0, 16), "--device gpu: no kind of machine of this cluster has GPUs"),
        ((5, 8), "auto", KNOWN, "--workers 5: more than the 4 GPUs"),
    ],
)
def test_what_never_comes_is_refused(asked: int, device: str, may: Growth, said: str) -> None:
    with pytest.raises(UserError, match=said):
        wanted(asked, device, HEAD, may)  # type: ignore[arg-type]


def _configuration(**changes: object) -> str:
    kinds = {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "gpus": {"resources": {"CPU": 8, "GPU": 2}, "max_workers": 3},
    }
    return yaml.safe_dump(
        {
            "provider": {"type": "aws"},
            "head_node_type": "head",
            "max_workers": 2,
            "available_node_types": kinds,
            **changes,
        }
    )


def test_what_a_configuration_allows() -> None:
    assert read_configuration(_configuration()) == Growth(4, 16), "no more than two machines"
    assert read_configuration(_configuration(max_workers=9)) == Growth(6, 24)
    assert read_configuration(_configuration(provider={"type": "local"})) is None
    alone = {"head": {"resources": {"CPU": 8}}}
    assert read_configuration(_configuration(available_node_types=alone)) is None
    unsaid = {"head": {}, "some": {"max_workers": 2}}
    assert read_configuration(_configuration(available_node_types=unsaid)) == UNKNOWN
    for text in ("", "[1, 2", "7", "a: b"):
        assert read_configuration(text) is None


def test_whether_a_status_is_that_of_an_autoscaler() -> None:
    def status(**report: object) -> str:
        return json.dumps({"autoscaler_report": {"active_nodes": {}, **report}})

    # As Ray's monitor writes it without an autoscaler: a type for each node.
    assert not grows(status(active_nodes={"node_3f2a": 1}, pending_nodes=[]))
    assert not grows(status(node_type_mapping={"3f2a": "node_3f2a"}))
    assert grows(status(active_nodes={"head": 1}))
    assert grows(status(node_type_mapping={"fff0": "ray.head.default"}))
    assert not grows(None)
    assert not grows("{")
    assert not grows("{}")


def test_a_fixed_cluster_does_not_grow(cluster: str) -> None:
    assert scaling.growth() is None


@pytest.mark.ray
def test_room_that_is_there_is_found_at_once(cluster: str) -> None:
    import ray

    said: list[str] = []
    scaling.wait_for([{"CPU": 1.0}] * 2, said.append)
    assert said == [said[0]]
    assert "2 of 2 CPUs are there" in said[0]
    until = time.monotonic() + 10
    while ray.available_resources().get("CPU") != 3 and time.monotonic() < until:
        time.sleep(0.1)
    assert ray.available_resources()["CPU"] == 3
    start = time.monotonic()
    scaling.wait_for([{"CPU": 1.0}] * 9, said.append, lambda: time.monotonic() > start + 1)
    assert "3 of 9 CPUs are there" in said[-1]
    assert len(said) == 2


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def from_zero(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a head without processors, and an autoscaler that pretends machines."""
    kinds = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "workers": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 4},
    }
    configuration: dict[str, object] = {
        "cluster_name": "pretended",
        "max_workers": 4,
        "upscaling_speed": 100.0,
        "idle_timeout_minutes": 0.2,
        "available_node_types": kinds,
        "head_node_type": "ray.head.default",
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        **{
            f"{which}_commands": []
            for which in (
                *("initialization", "setup", "head_setup", "worker_setup"),
                *("head_start_ray", "worker_start_ray"),
            )
        },
    }
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in token.items():
        monkeypatch.setenv(name, value)
    with tempfile.TemporaryDirectory(prefix="z", dir="/tmp") as folder:
        address = f"127.0.0.1:{_free_port()}"
        # Nothing to copy to a machine that is this one, nor to look at there.
        configuration["provider"] = {
            **{"type": "fake_multinode", "gcs_address": address},
            **{"disable_node_updaters": True, "disable_launch_config_check": True},
            **{"foreground_node_launch": True, "worker_liveness_check": False},
            "use_node_id_as_ip": True,
        }
        file = Path(folder) / "cluster.json"
        file.write_text(json.dumps(configuration))
        words = ["start", "--head", "--block", "--num-cpus=0", "--node-ip-address=127.0.0.1"]
        words += [f"--autoscaling-config={file}", f"--port={address[10:]}", f"--temp-dir={folder}"]
        words += ["--include-dashboard=false", "--disable-usage-stats"]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            **token,
        }
        ray = [sys.executable, "-m", "ray.scripts.scripts"]
        with open(Path(folder) / "said", "w") as said:
            head = subprocess.Popen([*ray, *words], env=environment, stdout=said, stderr=said)
        process = psutil.Process(head.pid)
        try:
            yield address
        finally:
            for each in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.Error):
                    each.kill()
            head.wait()


def _alive(address: str) -> int:
    """Machines of the cluster beside its head."""
    code = (
        "import ray, sys; ray.init(sys.argv[1], logging_level='ERROR', log_to_driver=False); "
        "print(sum(node['Alive'] and node['Resources'].get('CPU', 0) > 0 for node in ray.nodes()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, address],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.ray
@pytest.mark.drill
def test_from_zero_to_four_machines_and_down_again(from_zero: str, tmp_path: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(from_zero.split(":")):  # type: ignore[arg-type]
            break
        time.sleep(0.5)
    # Its autoscaler writes its first status a moment after it listens.
    time.sleep(10)
    assert _alive(from_zero) == 0
    line = ["train", "mnist-mlp", "--address", from_zero, "--images", "1k", "--batch", "64"]
    line += ["--workers", "4", "--out", "run"]
    environment = {**os.environ, "COLUMNS": "200"}
    refused = subprocess.run(
        command(*line), cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "--device gpu to wait for some" in refused.stderr
    trained = subprocess.run(
        command(*line, "--device", "cpu"),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "waiting for machines: 0 of 4 CPUs are there" in trained.stdout
    assert "4 workers of 1 CPU thread each" in trained.stdout
    # Nobody uses them any more, nor does anybody ask for them.
    until = time.monotonic() + 120
    while (left := _alive(from_zero)) and time.monotonic() < until:
        time.sleep(2)
    assert left == 0


@pytest.mark.ray
@pytest.mark.drill
def test_a_stop_while_machines_are_waited_for(from_zero: str, tmp_path: Path) -> None:
    time.sleep(20)
    line = ["train", "mnist-mlp", "--address", from_zero, "--workers", "2", "--device", "gpu"]
    waiting = subprocess.Popen(
        command(*line, "--out", "run"),
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert waiting.stdout is not None
    for said in waiting.stdout:
        if "waiting for machines: 0 of 2 GPUs" in said:
            break
    start = time.monotonic()
    waiting.send_signal(signal.SIGTERM)
    waiting.communicate(timeout=60)
    assert waiting.returncode == 143
    assert time.monotonic() - start < 10
