"""The launcher on a real Ray cluster: Python API, errors from workers, loopback, security."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import distgan
from distgan.errors import UserError
from distgan.launch.signals import StopRequest
from distgan.launch.start import Plan
from distgan.plan.planner import LOOPBACK
from distgan.runs import checkpoint
from distgan.storage.storage import Storage
from distgan.training.control import Status

from .ranks import distance

pytestmark = pytest.mark.ray

TINY = {"generator.network.widths": "16", "discriminator.network.widths": "16"}


class FailurePolicy:
    """A display that remembers."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.notes: list[str] = []
        self.statuses: list[Status] = []

    def start(self, plan: Plan) -> None:
        self.plans.append(plan)

    def note(self, text: str, kind: str = "") -> None:
        self.notes.append(text)

    def progress(self, status: Status) -> None:
        self.statuses.append(status)


def trained(folder: Path, name: str, workers: int, cluster: str, **changes: Any) -> dict[str, Any]:
    config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), {"images": 6_400, **changes})
    out = str(folder / name)
    result = distgan.train(config, out=out, workers=workers, address=cluster)
    assert (result.images_seen, result.stopped) == (6_400, "")
    state = checkpoint.load_newest(Storage(out))
    assert state is not None
    return state


def test_fifty_updates_through_the_whole_system_are_the_same(tmp_path: Path, cluster: str) -> None:
    alone, one, two = (
        trained(tmp_path, str(workers), workers, cluster, precision="float64")
        for workers in (0, 1, 2)
    )

    def weights(state: dict[str, Any]) -> dict[str, Any]:
        return {**state["networks"], "average": state["averages"]["generator"]}

    assert distance(weights(one), weights(alone)) < 1e-10
    assert distance(weights(two), weights(alone)) < 1e-10


@pytest.mark.drill
def test_progress_reaches_the_display(tmp_path: Path, cluster: str) -> None:
    watch = FailurePolicy()
    config = distgan.override(
        distgan.recipe("mnist-mlp-tutorial"), {"images": 30_000, "output.log_every": 2_000, **TINY}
    )
    distgan.train(config, out=str(tmp_path / "run"), workers=2, address=cluster, display=watch)
    assert watch.notes == [
        "60,000 images resident in memory, 47 MB once for each node",
        f"joining Ray at {cluster}",
        "2 workers of 1 CPU thread each",
    ]
    seen = [status.images_seen for status in watch.statuses]
    assert seen == sorted(seen)
    assert seen[-1] > 0
    assert any("d_loss" in status.record for status in watch.statuses)


def test_a_workers_mistake_arrives_as_one(tmp_path: Path, cluster: str) -> None:
    changes = {"generator.optimizer.lr": 1e30, "discriminator.optimizer.lr": 1e30}
    with pytest.raises(distgan.UserError, match=r"training diverged: .* after .* images"):
        trained(tmp_path, "run", 2, cluster, **changes, **{"output.log_every": 640})


@pytest.mark.slow
def test_a_wrong_interface_is_named_within_a_minute(
    tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The workers' processes are the cluster's: it is the driver that hands it to them.
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nonsense")
    start = time.monotonic()
    with pytest.raises(
        UserError,
        match=r"^the workers do not reach one another: worker \d on \S+: \w.*nonsense.* "
        r"\(GLOO_SOCKET_IFNAME=nonsense; its interfaces: .*\blo\b.*\); set GLOO_SOCKET_IFNAME to",
    ):
        trained(tmp_path, "run", 2, cluster)
    seconds = time.monotonic() - start
    print(f"named after {seconds:.0f} s")
    assert seconds < 60
    # Once it is gone, the same workers reach one another.
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    trained(tmp_path, "again", 2, cluster)
    text = (tmp_path / "again" / "environment.json").read_text()
    (begun,) = json.loads(text)["starts"]
    assert [rank["device"] for rank in begun["ranks"]] == ["cpu", "cpu"]
    assert begun["link"]["bytes_per_second"] > 1e6
    assert begun["link"]["planned"] == LOOPBACK.bandwidth


def test_more_workers_than_the_cluster_holds(tmp_path: Path, cluster: str) -> None:
    with pytest.raises(distgan.UserError, match="--workers 5: more than the 3 CPUs"):
        trained(tmp_path, "run", 5, cluster)


def test_a_stop_while_workers_start_ends_them_on_a_cluster_that_stays(
    tmp_path: Path, cluster: str
) -> None:
    import ray

    class Impatient(FailurePolicy):
        def note(self, text: str, kind: str = "") -> None:
            super().note(text)
            if text.startswith("2 workers"):
                stop.name = "SIGINT"

    stop, out = StopRequest(), str(tmp_path / "run")
    config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), {"images": 10**9, **TINY})
    result = distgan.train(config, out=out, workers=2, display=Impatient(), stop=stop)
    assert result.stopped == "SIGINT"
    assert not [t for t in threading.enumerate() if type(t).__name__ == "_Fit"]
    until = time.monotonic() + 30
    while time.monotonic() < until and ray.available_resources().get("CPU") != 3:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == 3
    # Whatever has been saved, nobody goes on with it.
    saved = checkpoint.index(Storage(out))
    time.sleep(1)
    assert checkpoint.index(Storage(out)) == saved


_LISTENERS = """
import subprocess, sys, threading
import distgan
from distgan.launch.ray.environment import prepare_own_cluster

def facts(process):
    import psutil
    try:
        return (process.cmdline() or [""])[0].strip(), process.nice()
    except psutil.Error:
        return "", 0  # On its way out.

class Look:
    done = False
    def start(self, plan): pass
    def note(self, text, kind=""): pass
    def progress(self, status):
        if not self.done:
            self.done = True
            import psutil  # Ray brings it.
            children = psutil.Process().children(recursive=True)
            print(*(child.pid for child in children))
            print({c.pid: facts(c) for c in children})
            print(subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True).stdout)

config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), {"images": 40_000})
distgan.train(config, out=sys.argv[1], workers=1, display=Look())
"""


@pytest.mark.drill
def test_a_cluster_of_our_own_is_small_and_listens_on_loopback_only(tmp_path: Path) -> None:
    if subprocess.run(["which", "ss"], capture_output=True).returncode:
        pytest.skip("needs the command ss")
    code = [sys.executable, "-c", _LISTENERS, str(tmp_path / "run")]
    listed = subprocess.run(code, capture_output=True, text=True, check=True).stdout
    # Beside the worker, only what Ray cannot do without; the worker comes after nobody.
    nice = dict(ast.literal_eval(listed.split("\n")[1]).values())
    actors = {name for name in nice if name.startswith("ray::")}
    assert actors == {"ray::RayTrainWorker", "ray::DashboardAgent", "ray::RuntimeEnvAgent"}
    assert nice["ray::RayTrainWorker"] == 0
    servers = sorted(Path(name).name for name in nice if not name.startswith("ray::") and name)
    assert servers == ["gcs_server", "raylet"]
    # Nothing of it outlives the run.
    until = time.monotonic() + 20
    alive = {pid for pid in listed.split("\n")[0].split() if Path(f"/proc/{pid}/exe").exists()}
    while alive and time.monotonic() < until:
        time.sleep(0.2)
        alive = {pid for pid in alive if Path(f"/proc/{pid}/exe").exists()}
    assert not alive
    # Ray's servers; tests/test_listeners.py looks at every socket of the processes' tree.
    pids, _, *lines = listed.splitlines()
    # Other clusters of this machine may listen elsewhere.
    mine = {f"pid={pid}," for pid in pids.split()}
    lines = [line for line in lines if any(pid in line for pid in mine)]
    ours = [line.split() for line in lines if "ray" in line or "gcs" in line]
    assert ours, listed
    outside = [f"{words[3]} {words[-1]}" for words in ours if "127.0.0.1]:" not in words[3]]
    outside = [text for text in outside if not text.startswith("127.0.0.1:")]
    assert not outside


@pytest.mark.drill
def test_a_generator_trained_from_another_thread_is_restored(tmp_path: Path, cluster: str) -> None:
    found: list[Any] = []
    work = lambda: found.append(trained(tmp_path, "run", 1, cluster, **TINY))  # noqa: E731
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    (state,) = found
    assert state["images_seen"] == 6_400
    loaded = distgan.load_generator(str(tmp_path / "run"))
    for name, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, state["averages"]["generator"][name])
    again = distgan.load_generator(str(tmp_path / "run"), weights="generator")
    assert torch.equal(
        again.network.state_dict()["layers.0.weight"],
        state["networks"]["generator"]["layers.0.weight"],
    )
    torch.testing.assert_close(loaded.sample(3), loaded.sample(8)[:3])
