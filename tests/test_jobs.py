"""Commands sent to a cluster: the mistakes, against a small server; the rest, against Ray's."""

from __future__ import annotations

import json
import os
import platform
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from distgan.cli import main
from distgan.errors import UserError
from distgan.jobs import client, package
from distgan.launch.ray import private

TRAIN = ("--", "train", "mnist-mlp", "--out", "/shared/one")


class _Server(BaseHTTPRequestHandler):
    ray, python, token = "", platform.python_version(), ""

    def do_GET(self) -> None:
        if self.token and self.headers.get("Authorization") != f"Bearer {self.token}":
            self._answer(401, {})
        elif self.path == "/api/version":
            self._answer(200, {"version": "4", "ray_version": self.ray})
        elif self.path == "/api/v0/cluster_metadata":
            self._answer(200, {"data": {"rayVersion": self.ray, "pythonVersion": self.python}})
        elif self.path == "/api/jobs/":
            self._answer(200, [])
        else:
            self._answer(404, {"error": "Job does not exist"})

    def _answer(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[_Server]]]:
    """The URL of a job server, and what may be set of it."""
    ray = pytest.importorskip("ray")
    pytest.importorskip("aiohttp")
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)

    class Server(_Server):
        pass

    Server.ray = ray.__version__
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}", Server
    listening.shutdown()


def test_without_undocumented_requests_versions_are_not_compared(
    server: tuple[str, type[_Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, answers = server
    answers.ray = "2.1.0"
    with pytest.raises(UserError, match=r"the cluster has Ray 2\.1\.0"):
        client.connect(url)
    monkeypatch.setenv(private.VARIABLE, "1")
    assert client.connect(url).get_address() == url
    answers.token = "secret"
    with pytest.raises(UserError, match="asks for a token"):
        client.connect(url)


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a mistake is answered with."""
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("train", "mnist-mlp"), "comes after --"),
        (("--follow",), "comes after --"),
        (("--", "trian"), "trian"),
        (("--", "train", "mnist-mlp"), "--out: needed on a cluster"),
        (("--", "train", "mnist-mlp", "--out", "runs/one"), "thrown away"),
        (("--", "stop", "one"), "runs here"),
        (("--env", "DISTGAN_NOT_SET", *TRAIN), "not set here"),
        (("--name", "a b", *TRAIN), "--name a b"),
        (("--image", "one", "--working-dir", ".", *TRAIN), "--image"),
        (("--address", "ray://head:10001", *TRAIN), "not the address of a job server"),
        (("--address", "head:6379", *TRAIN), "the cluster's own"),
        (("--address", "http://head:82650", *TRAIN), "not the address of a job server"),
        (("--address", "http://[::1", *TRAIN), "not the address of a job server"),
        (("--", "tune", "mnist-mlp"), "--out: needed on a cluster"),
        (("--address", "http://127.0.0.1:9", *TRAIN), "no job server answers"),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], expected: str
) -> None:
    pytest.importorskip("aiohttp")
    assert expected in mistake(capsys, "submit", *words)


def test_versions_are_compared(
    capsys: pytest.CaptureFixture[str], server: tuple[str, type[_Server]]
) -> None:
    url, there = server
    assert main(["jobs", "--address", url]) == 0
    assert "no jobs yet" in capsys.readouterr().out
    ours, there.ray = there.ray, "2.9.0"
    assert "has Ray 2.9.0" in mistake(capsys, "submit", "--address", url, *TRAIN)
    there.ray, there.python = ours, "3.8.1"
    assert "has Python 3.8.1" in mistake(capsys, "submit", "--address", url, *TRAIN)


@pytest.mark.parametrize("verb", ["status", "logs", "stop"])
def test_unknown_job(
    capsys: pytest.CaptureFixture[str], server: tuple[str, type[_Server]], verb: str
) -> None:
    assert "one: no such job" in mistake(capsys, verb, "one", "--address", server[0])


def test_a_cluster_that_asks_for_a_token(
    capsys: pytest.CaptureFixture[str], server: tuple[str, type[_Server]]
) -> None:
    url, there = server
    there.token = "secret-word"
    said = mistake(capsys, "jobs", "--address", url)
    assert "asks for a token" in said
    assert there.token not in said


def test_rays_token_in_the_home_is_found_for_a_server_of_this_machine(
    server: tuple[str, type[_Server]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`ray start` asks for the token wherever the home has one, without being told to."""
    url, there = server
    there.token = "a-word-of-some-length"
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(there.token)
    assert main(["jobs", "--address", url]) == 0
    capsys.readouterr()
    assert "RAY_AUTH_MODE" not in os.environ, "only this client was to send it"
    monkeypatch.setattr(client, "is_here", lambda _: False)
    assert "asks for a token" in mistake(capsys, "jobs", "--address", url)


def test_what_travels_is_small_and_whole(tmp_path: Path) -> None:
    folder, size = package.copy_package(tmp_path)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert (folder / "__main__.py").exists()
    assert not [path for path in files if "__pycache__" in path.parts]
    assert size == sum(path.stat().st_size for path in files) < 20 * 2**20


def test_a_folder_too_large_is_named_with_its_largest_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name, size in (("a.py", 10), ("runs/one/huge.pt", 9_000), (".git/x", 9_000)):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(bytes(size))
    copy, size = package.copy_folder(source, tmp_path / "copy", limit=100)
    assert size == 10
    assert [path.name for path in copy.iterdir()] == ["a.py"]
    (source / "big.bin").write_bytes(bytes(500))
    with pytest.raises(UserError, match=r"largest is big\.bin"):
        package.copy_folder(source, tmp_path / "again", limit=100)


def test_values_of_env_are_said_nowhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, object] = {}

    class Client:
        def get_address(self) -> str:
            return "http://head:8265"

        def submit_job(self, **options: object) -> str:
            sent.update(options)
            return "one"

    pytest.importorskip("aiohttp")
    monkeypatch.setenv("DISTGAN_SECRET", "abracadabra")
    monkeypatch.setattr("distgan.jobs.sending.connect", lambda _: Client())
    assert main(["submit", "--env", "DISTGAN_SECRET", "--installed", *TRAIN]) == 0
    said = capsys.readouterr()
    assert sent["runtime_env"]["env_vars"]["DISTGAN_SECRET"] == "abracadabra"  # type: ignore[index]
    assert "abracadabra" not in said.out + said.err
    assert "abracadabra" not in str(sent["entrypoint"]) + str(sent["metadata"])


def test_logs_go_on_where_they_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        times = 0

        def get_address(self) -> str:
            return "http://head:8265"

        def get_job_info(self, name: str) -> object:
            state = "RUNNING" if self.times < 2 else "SUCCEEDED"
            return type(
                "Details",
                (),
                {
                    "status": state, "metadata": {}, "submission_id": name, "message": "",
                    "start_time": 1, "end_time": None, "driver_exit_code": None,
                },
            )()  # fmt: skip

        async def tail_job_logs(self, name: str):  # type: ignore[no-untyped-def]
            self.times += 1
            yield "one "
            yield "two "
            if self.times == 1:
                raise RuntimeError("WebSocket connection closed unexpectedly")
            yield "three"

    pytest.importorskip("aiohttp")
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    shown: list[str] = []
    job = client.follow("job", shown.append, client=Client())
    assert job.state == "SUCCEEDED"
    assert "".join(shown) == "one two three"
