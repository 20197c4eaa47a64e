"""The address of a cluster that is to be joined: which one is meant, and whether it is Ray's."""

from __future__ import annotations

import os
import socket

from distgan.errors import UserError, brief, first_line, printable

_SECONDS_TO_ANSWER = 10.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a client begins to speak HTTP/2, with its settings left as they are."""
_HEADER, _SETTINGS = 9, 4
"""Bytes of a frame's header, and the type of the frame with which a server answers."""


def cluster_address(given: str | None) -> str | None:
    """The cluster to join: the one given, else ``RAY_ADDRESS``; None to start one here."""
    address = given or os.environ.get("RAY_ADDRESS") or None
    # Ray's word for a cluster of one's own.
    return None if address == "local" else address


def check_address(address: str) -> None:
    """See that a server of Ray's kind listens at ``host:port``; Ray itself tries for minutes.

    Raises:
        UserError: when none does, or what listens there is something else.
    """
    host, port = _split(address)
    named = address.rpartition(":")[2].rstrip("/")
    if host and named.isdecimal() and not port:
        raise UserError(f"--address {brief(address)}: a port is a number from 1 to 65535")
    if not host or not port:
        return  # "auto" and the like: Ray knows at once.
    try:
        with socket.create_connection((host, port), timeout=5) as stream:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return  # It would have to be asked through TLS.
            stream.settimeout(_SECONDS_TO_ANSWER)
            stream.sendall(_PREFACE)
            answer = _receive(stream)
    # UnicodeError: a name with parts longer than names on the Internet may be.
    except (OSError, UnicodeError) as error:
        raise _refusal(address, f"no Ray cluster answers there ({first_line(error)})") from None
    if len(answer) < _HEADER or answer[3] != _SETTINGS:
        found = "something else" if answer else "nothing that speaks to us"
        raise _refusal(address, f"{found} listens there, not a Ray cluster")


def _receive(stream: socket.socket) -> bytes:
    answer = b""
    while len(answer) < _HEADER and (more := stream.recv(_HEADER)):
        answer += more
    return answer


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
