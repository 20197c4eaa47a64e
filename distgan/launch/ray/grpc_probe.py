"""One call of a gRPC method with an empty request, by nothing but a socket.

Enough of HTTP/2 (RFC 9113), header compression (RFC 7541) and gRPC's protocol over HTTP/2 to
tell a gRPC server from another, and one that knows a method from one that does not.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import NamedTuple

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
"""Types of frames."""
_END_STREAM, _END_HEADERS, _ACKNOWLEDGED = 1, 4, 1
"""Flags of frames."""
_HEADER, _LONGEST_FRAME = 9, 1 << 14
_STREAM = 1
_UNIMPLEMENTED = b"12"
"""gRPC's status for a method that a server does not have."""


class Answer(NamedTuple):
    """What came back."""

    bytes: bool
    """Anything at all."""
    speaks: bool
    """An answer to the call, whatever it says."""
    unknown_method: bool


def call(stream: socket.socket, authority: str, method: str) -> Answer:
    """Call a method and wait for the answer, no longer than the socket's time limit in all.

    Args:
        authority: ``host:port`` of the server.
        method: such as ``/package.Service/Method``.

    Raises:
        OSError: when nothing answers in time.
    """
    limit = stream.gettimeout()
    deadline = time.monotonic() + (30.0 if limit is None else limit)
    stream.sendall(_PREFACE + _frame(_SETTINGS, 0, 0))
    kind, _, _, _ = _receive(stream, deadline)
    if kind != _SETTINGS:
        return Answer(kind is not None, False, False)
    stream.sendall(
        _frame(_SETTINGS, _ACKNOWLEDGED, 0)
        + _frame(_HEADERS, _END_HEADERS, _STREAM, _request(authority, method))
        # Neither compressed nor longer than nothing.
        + _frame(_DATA, _END_STREAM, _STREAM, b"\0" + struct.pack(">I", 0))
    )
    while True:
        kind, flags, number, content = _receive(stream, deadline)
        if kind in (None, _GOAWAY):
            return Answer(True, False, False)
        if number == _STREAM and kind in (_HEADERS, _DATA, _RESET):
            # A refusal comes as headers alone.
            alone = kind == _HEADERS and bool(flags & _END_STREAM)
            return Answer(True, True, alone and _status(content) == _UNIMPLEMENTED)


def _frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def _request(authority: str, method: str) -> bytes:
    """Headers, each as a literal without indexing or Huffman's code."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": authority[:120],
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())


def _text(text: str) -> bytes:
    encoded = text.encode("ascii", "replace")
    return bytes([len(encoded)]) + encoded


def _status(headers: bytes) -> bytes:
    """The value of ``grpc-status``, where it is written out; empty elsewhere."""
    _, found, rest = headers.partition(b"grpc-status")
    return rest[1 : 1 + rest[0]] if found and rest else b""


def _receive(stream: socket.socket, deadline: float) -> tuple[int | None, int, int, bytes]:
    """Type, flags, stream and content of the next frame; None for a type where none comes."""
    header = _read(stream, _HEADER, deadline)
    if len(header) < _HEADER:
        return (None if not header else -1), 0, 0, b""
    length = int.from_bytes(header[:3], "big")
    kind, flags, number = struct.unpack(">BBI", header[3:])
    if length > _LONGEST_FRAME:
        return -1, 0, 0, b""
    return kind, flags, number, _read(stream, length, deadline)


def _read(stream: socket.socket, count: int, deadline: float) -> bytes:
    content = b""
    while len(content) < count:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        stream.settimeout(left)
        more = stream.recv(count - len(content))
        if not more:
            break
        content += more
    return content
