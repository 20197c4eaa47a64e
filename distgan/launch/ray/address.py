"""The address of a cluster that is to be joined: which one is meant, and whether it is Ray's."""

from __future__ import annotations

import os
import socket
import threading
import time

from distgan.errors import UserError, brief, first_line, printable
from distgan.launch.ray import grpc_probe, private

SECONDS_TO_ANSWER = 8.0
"""For a server at the address to say that it is Ray's, its name's look-up included."""

_METHOD = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""Of the head of a cluster of Ray 2.60; an empty request is one that it answers."""


def cluster_address(given: str | None) -> str | None:
    """The cluster to join: the one given, else ``RAY_ADDRESS``; None to start one here."""
    address = given or os.environ.get("RAY_ADDRESS") or None
    # Ray's word for a cluster of one's own.
    return None if address == "local" else address


def check_address(address: str) -> None:
    """See that a server of Ray's kind listens at ``host:port``, within `SECONDS_TO_ANSWER`.

    Ray itself tries for a minute, and then ends the whole process.

    Raises:
        UserError: when none does, or what listens there is something else.
    """
    host, port = _split(address)
    named = address.rpartition(":")[2].rstrip("/")
    if host and named.isdecimal() and not port:
        raise UserError(f"--address {brief(address)}: a port is a number from 1 to 65535")
    if not host or not port:
        return  # "auto" and the like: Ray knows at once.
    found: list[str] = []

    def ask() -> None:
        # UnicodeError: a name with parts longer than names on the Internet may be.
        try:
            found.append(_look(host, port))
        except (OSError, UnicodeError) as error:
            found.append(f"no Ray cluster answers there ({first_line(error)})")

    # No time limit holds for the look-up of a name, and no signal ends it.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(0.05)
    why = found[0] if found else "no Ray cluster answers there (timed out)"
    if why:
        raise _refusal(address, why)


def _look(host: str, port: int) -> str:
    """What is wrong with a server; empty for one of Ray's.

    Raises:
        OSError: when none answers.
    """
    with socket.create_connection((host, port), timeout=SECONDS_TO_ANSWER) as stream:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return ""  # It would have to be asked through TLS.
        stream.settimeout(SECONDS_TO_ANSWER)
        answer = grpc_probe.call(stream, f"{host}:{port}", _METHOD)
    if not answer.speaks:
        found = "something else" if answer.bytes else "nothing that speaks to us"
        return f"{found} listens there, not a Ray cluster"
    # Another release may call its method otherwise.
    if answer.unknown_method and private.usable():
        return "another server listens there, not a Ray cluster"
    return ""


def _refusal(address: str, why: str) -> UserError:
    return UserError(
        f"--address {printable(address)}: {why}; start one with `ray start --head`, or leave "
        "--address and RAY_ADDRESS out, or use --workers 0"
    )


def is_here(address: str) -> bool:
    """Whether an address is one of this machine's, so that nothing sent there leaves it."""
    host = _split(address)[0]
    if not host:
        return False
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # Only an address of one's own can be bound to.
            probe.bind(where)
    except (OSError, UnicodeError):
        return False
    return True


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    port = port.rstrip("/")
    return host.strip("[]"), int(port) if port.isdecimal() and len(port) < 6 and int(
        port
    ) < 65536 else 0
