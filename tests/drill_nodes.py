"""A Ray cluster of nodes with addresses of their own, in network namespaces of this machine."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from distgan.launch.ray.environment import _LOOPBACK, _OWN_CLUSTER

RAY = str(Path(sys.executable).with_name("ray"))
_OF_OTHER_CLUSTERS = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", *_LOOPBACK, *_OWN_CLUSTER)
_COUNT = itertools.count()


def may_have_nodes() -> bool:
    """Whether this user may make namespaces."""
    if shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "dg-try"], capture_output=True)
    subprocess.run(["ip", "netns", "delete", "dg-try"], capture_output=True)
    return made.returncode == 0


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Nodes:
    """A head without CPUs, where drivers run, and further nodes of one CPU each.

    This machine itself has an address on their network, as a laptop beside a cluster has.

    Args:
        nodes: how many beside the head.
        dashboard: whether the head has one, with its job server.
        dashboard_host: where that listens; None leaves it to Ray.
    """

    def __init__(
        self, nodes: int, *, dashboard: bool = False, dashboard_host: str | None = "0.0.0.0"
    ) -> None:
        self._all = range(nodes + 1)
        # Others may run clusters on this machine at the same time.
        number = os.getpid() * 8 + next(_COUNT)
        self._name = f"dg{number % 0xFFFFFF:x}"
        self._net = f"10.77.{number % 250 + 1}"
        self._dashboard, self._dashboard_host = dashboard, dashboard_host
        self.host = f"{self._net}.10"
        self.dashboard_url = f"http://{self._net}.10:8265"
        # Sockets have paths of no more than 107 characters.
        self._temp = f"/tmp/{self._name}"
        self.address = f"{self._net}.10:6379"
        self.environment = {
            **{k: v for k, v in os.environ.items() if k not in _OF_OTHER_CLUSTERS},
            "PATH": f"{Path(RAY).parent}{os.pathsep}{os.environ['PATH']}",
            "GLOO_SOCKET_IFNAME": "eth0",
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_enable_metrics_collection": "0",
            "RAY_prestart_worker_first_driver": "0",
        }

    def __enter__(self) -> Nodes:
        _ip("link", "add", f"{self._name}br", "type", "bridge")
        _ip("addr", "add", f"{self._net}.1/24", "dev", f"{self._name}br")
        _ip("link", "set", f"{self._name}br", "up")
        for number in self._all:
            _ip("netns", "add", f"{self._name}-{number}")
            _ip(
                "link",
                "add",
                f"{self._name}v{number}",
                "type",
                "veth",
                "peer",
                "name",
                f"{self._name}w{number}",
            )
            _ip("link", "set", f"{self._name}w{number}", "netns", f"{self._name}-{number}")
            self._inside(number, "ip", "link", "set", f"{self._name}w{number}", "name", "eth0")
            self._inside(
                number, "ip", "addr", "add", f"{self._net}.{10 + number}/24", "dev", "eth0"
            )
            self._inside(number, "ip", "link", "set", "eth0", "up")
            self._inside(number, "ip", "link", "set", "lo", "up")
            _ip("link", "set", f"{self._name}v{number}", "up", "master", f"{self._name}br")
        for number in self._all:
            self.start(number)
        return self

    def start(self, number: int) -> None:
        """Start, or start again, a node."""
        common = ["--node-ip-address", f"{self._net}.{10 + number}", "--disable-usage-stats"]
        common += ["--object-store-memory", "200000000"]
        if number == 0:
            where = ["--head", "--port", "6379", "--num-cpus", "0", "--temp-dir", self._temp]
            where += ["--include-dashboard", str(self._dashboard).lower()]
            if self._dashboard_host:
                where += ["--dashboard-host", self._dashboard_host]
        else:
            where = ["--address", self.address, "--num-cpus", "1"]
        self._inside(number, RAY, "start", *where, *common)

    def command(self, *words: str) -> list[str]:
        """A command as it runs on the head's node."""
        return ["ip", "netns", "exec", f"{self._name}-0", *words]

    def processes(self, number: int, name: str = "") -> list[int]:
        """Process ids on a node, of those whose command line holds ``name``."""
        listed = subprocess.run(
            ["ip", "netns", "pids", f"{self._name}-{number}"], capture_output=True, text=True
        ).stdout
        found = []
        for pid in map(int, listed.split()):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if name in line:
                found.append(pid)
        return found

    def kill_node(self, number: int) -> None:
        """SIGKILL its raylet, with which its workers end."""
        for pid in self.processes(number, "raylet/raylet"):
            os.kill(pid, signal.SIGKILL)

    def drain(self, number: int, seconds: int) -> None:
        """Give notice that a node will be taken away after so many seconds."""
        code = f"import ray; ray.init(address='{self.address}'); print(*((n['NodeManagerAddress'], "
        code += "n['NodeID']) for n in ray.nodes() if n['Alive']), sep=chr(10))"
        listed = self._inside(0, sys.executable, "-c", code)
        line = next(line for line in listed.splitlines() if f"{self._net}.{10 + number}'" in line)
        node = line.split("'")[3]
        reason = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a drill")
        when = ("--deadline-remaining-seconds", str(seconds))
        where = ("--address", self.address, "--node-id", node)
        self._inside(0, RAY, "drain-node", *where, *reason, *when)

    def connect(self, number: int, there: bool) -> None:
        """Put a node on the network, or take it off without a word to anybody."""
        _ip(
            "link",
            "set",
            f"{self._name}v{number}",
            *(("master", f"{self._name}br") if there else ("nomaster",)),
        )

    def output(self, number: int, *words: str) -> str:
        """What a command prints on a node, and on failure whatever it has printed."""
        return subprocess.run(
            ["ip", "netns", "exec", f"{self._name}-{number}", *words],
            capture_output=True,
            text=True,
            env=self.environment,
        ).stdout

    def _inside(self, number: int, *words: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", f"{self._name}-{number}", *words],
            capture_output=True,
            text=True,
            env=self.environment,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in self._all:
            for pid in self.processes(number):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        time.sleep(1)
        for number in self._all:
            subprocess.run(["ip", "netns", "delete", f"{self._name}-{number}"], capture_output=True)
            subprocess.run(["ip", "link", "delete", f"{self._name}v{number}"], capture_output=True)
        subprocess.run(["ip", "link", "delete", f"{self._name}br"], capture_output=True)
        subprocess.run(["rm", "-rf", self._temp])
