"""A cluster's job server, and the jobs of distgan on it.

Requests go through Ray's own client. It sends Ray's token if ``RAY_AUTH_MODE=token``, and also
to a job server on this machine that requires one, if Ray's token file exists.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from distgan.errors import UserError, brief, first_line
from distgan.launch.ray import private
from distgan.launch.ray.address import is_here
from distgan.launch.ray.environment import authentication, token_is_at_hand

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
STOP_SECONDS = 120
"""How long a job may take to write its checkpoint when it is stopped; Ray's default is 3."""

_HERE = "http://127.0.0.1:8265"
_TRIES = 5
_COMMAND, _FOLDER = "distgan", "folder"


@dataclass(frozen=True)
class Job:
    """A job on a cluster.

    Attributes:
        name: the identifier that the other functions take.
        state: ``PENDING``, ``RUNNING``, ``SUCCEEDED``, ``FAILED`` or ``STOPPED``.
        command: the words after ``distgan``; empty for a job of another program.
        folder: of its run, or empty.
        started, ended: Unix seconds, or None.
        exit_code: of its process, or None.
        message: Ray's message about it.
    """

    name: str
    state: str
    command: tuple[str, ...]
    folder: str
    started: float | None
    ended: float | None
    exit_code: int | None
    message: str

    @property
    def seconds(self) -> float | None:
        """Seconds that it has run."""
        return None if self.started is None else (self.ended or time.time()) - self.started


def _is_name(host: str) -> bool:
    """Whether the labels of a host name have the lengths that RFC 1035 allows."""
    labels = host.removesuffix(".").split(".")
    return len(host) <= 253 and all(0 < len(label) <= 63 for label in labels)


def url_of(address: str | None) -> str:
    """The job server's URL: the argument, else ``RAY_API_SERVER_ADDRESS``, else port 8265 of this
    machine.

    Raises:
        UserError: for anything but an HTTP URL.
    """
    url = address or os.environ.get("RAY_API_SERVER_ADDRESS", "") or _HERE
    url = url.rstrip("/") if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in ("http", "https") or not _is_name(host):
        raise UserError(
            f"--address {brief(url)}: not the address of a job server; give the dashboard's, such "
            "as http://HEAD:8265"
        )
    if port == 6379:
        raise UserError(
            f"--address {url}: that port is the cluster's own; a job server answers on the "
            "dashboard's, such as http://HEAD:8265"
        )
    return url if port or parts.scheme == "https" else f"{url}:8265"


def connect(address: str | None = None) -> Any:
    """Ray's ``JobSubmissionClient`` for a cluster of the same versions of Ray and Python.

    Args:
        address: the dashboard's URL, or None for ``RAY_API_SERVER_ADDRESS`` or this machine's.

    Raises:
        UserError: when nothing answers, a token is required, or Ray or Python differ.
    """
    url = url_of(address)
    try:
        import aiohttp  # noqa: F401
        import requests  # noqa: F401
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise UserError(
            f"{error.name}: needed to talk to a job server; pip install 'distgan[cluster]'"
        ) from None
    from ray.exceptions import AuthenticationError

    def reach() -> tuple[Any, Any]:
        client = JobSubmissionClient(url)
        return client, _metadata(client)

    with plain_errors(url), _only_this_address():
        try:
            client, found = reach()
        except AuthenticationError:
            # A head on this machine requires the token of the home folder if there is one, but
            # Ray's client sends it only under RAY_AUTH_MODE=token. The token is sent without being
            # asked for to this machine only, so that it does not leak to others.
            if not is_here(url) or not token_is_at_hand():
                raise
            with authentication({"RAY_AUTH_MODE": "token"}):
                client, found = reach()
    _check_versions(url, found)
    return client


def _metadata(client: Any) -> dict[str, Any]:
    """The versions of a cluster; the documented interface only says whether it answers."""
    if private.usable():
        from distgan.launch.ray.private.jobs import cluster_metadata

        return cluster_metadata(client)
    client.get_version()
    return {}


def _check_versions(url: str, there: dict[str, Any]) -> None:
    import ray

    ours, theirs = ray.__version__, there.get("rayVersion") or there.get("ray_version")
    if theirs and theirs != ours:
        raise UserError(
            f"--address {url}: the cluster has Ray {theirs}, this machine {ours}; they must be "
            f"the same: pip install 'ray[default]=={theirs}' here, or that of here there"
        )
    python = there.get("pythonVersion") or there.get("python_version") or ""
    if python and python.split(".")[:2] != platform.python_version().split(".")[:2]:
        raise UserError(
            f"--address {url}: the cluster has Python {python}, this machine "
            f"{platform.python_version()}; Ray needs the same on both: run distgan from an "
            f"environment of Python {'.'.join(python.split('.')[:2])}"
        )


@contextmanager
def _only_this_address() -> Iterator[None]:
    # For Ray these variables take precedence over the address in the call.
    names = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def plain_errors(url: str, name: str = "") -> Iterator[None]:
    """Turn exceptions of Ray's client into `UserError`; ``name`` is the requested job."""
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError:
        raise UserError(
            f"--address {url}: the cluster asks for a token, and refuses ours or finds none; set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file that holds it"
        ) from None
    except (ConnectionError, requests.exceptions.RequestException, aiohttp.ClientError) as error:
        raise UserError(
            f"--address {url}: no job server answers ({type(error).__name__}); is the cluster "
            "up, and its dashboard reachable from here? `ssh -N -L 8265:127.0.0.1:8265 HEAD` "
            "brings it to http://127.0.0.1:8265"
        ) from None
    except RuntimeError as error:
        if name and ("404" in str(error) or "does not exist" in str(error)):
            raise UserError(
                f"{name}: no such job on {url}; `distgan jobs` lists those there are"
            ) from None
        raise UserError(f"--address {url}: {first_line(error, 300)}") from None


def _job(details: Any) -> Job:
    metadata = details.metadata or {}
    state = getattr(details.status, "value", details.status)
    return Job(
        name=details.submission_id or details.job_id or "",
        state=state,
        command=_words(metadata.get(_COMMAND, "[]")),
        folder=str(metadata.get(_FOLDER, "")),
        started=details.start_time / 1000 if details.start_time else None,
        ended=details.end_time / 1000 if details.end_time else None,
        exit_code=details.driver_exit_code,
        message=details.message or "",
    )


def _words(command: str) -> tuple[str, ...]:
    # Metadata may have been written by other programs.
    try:
        words = json.loads(command)
    except (ValueError, TypeError, RecursionError):
        return ()
    return tuple(map(str, words)) if isinstance(words, list) else ()


def metadata_of(command: tuple[str, ...], folder: str) -> dict[str, str]:
    """The metadata by which `jobs` shows a job's command and folder."""
    return {_COMMAND: json.dumps(command), _FOLDER: folder}


def jobs(address: str | None = None) -> list[Job]:
    """The jobs that came through the job server, oldest first.

    Raises:
        UserError: as `connect`.
    """
    client = connect(address)
    with plain_errors(client.get_address()):
        found = [_job(details) for details in client.list_jobs() if details.submission_id]
    return sorted(found, key=lambda job: job.started or 0.0)


def status(name: str, address: str | None = None, *, client: Any = None) -> Job:
    """One job as it is now.

    Raises:
        UserError: as `connect`, and for a job that is not there.
    """
    client = client or connect(address)
    with plain_errors(client.get_address(), name):
        return _job(client.get_job_info(name))


def stop(name: str, address: str | None = None, *, wait: float = STOP_SECONDS + 30) -> Job:
    """Make a job write a checkpoint and end, so that it can be resumed.

    Its process gets SIGTERM, and SIGKILL if it still runs `STOP_SECONDS` later.

    Args:
        wait: seconds to wait for its end; 0 returns after the request.

    Returns:
        the job as it is then; ended, unless that took longer than ``wait``.

    Raises:
        UserError: as `status`.
    """
    client = connect(address)
    job = status(name, client=client)
    if job.state in ENDED:
        return job
    with plain_errors(client.get_address(), name):
        client.stop_job(name)
    deadline = time.monotonic() + wait
    while job.state not in ENDED and time.monotonic() < deadline:
        time.sleep(0.5)
        job = status(name, client=client)
    return job


def logs(name: str, address: str | None = None) -> str:
    """A job's whole output so far.

    Raises:
        UserError: as `status`.
    """
    client = connect(address)
    with plain_errors(client.get_address(), name):
        return str(client.get_job_logs(name))


def follow(
    name: str, show: Callable[[str], None], address: str | None = None, *, client: Any = None
) -> Job:
    """Pass on a job's output, from its beginning, until the job ends.

    After a broken connection it connects again, and continues where it stopped.

    Returns:
        the job, ended.

    Raises:
        UserError: as `status`, and when the cluster stays unreachable.
    """
    client = client or connect(address)
    status(name, client=client)
    tail, failed = _Tail(client, name, show), 0
    while True:
        try:
            with plain_errors(client.get_address(), name):
                asyncio.run(tail.pass_on())
            job = status(name, client=client)
            failed = 0
        except UserError:
            failed += 1
            if failed == _TRIES:
                raise
            time.sleep(2**failed)
            continue
        if job.state in ENDED:
            return job
        time.sleep(0.5)


class _Tail:
    """A job's output, of which every new connection repeats the part that was already shown."""

    def __init__(self, client: Any, name: str, show: Callable[[str], None]) -> None:
        self._client, self._name, self._show, self._shown = client, name, show, 0

    async def pass_on(self) -> None:
        """Show the part not shown yet, until the connection or the job ends."""
        passed = 0
        async for text in self._client.tail_job_logs(self._name):
            start = max(self._shown - passed, 0)
            passed += len(text)
            if start < len(text):
                self._show(text[start:])
                self._shown = passed
