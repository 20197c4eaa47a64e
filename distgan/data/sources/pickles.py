"""Reads the pickles of CIFAR's python version, which may be from an untrusted source.

Python's own reader calls functions that a pickle names, hashes nested objects, and allocates
sizes that it states; NumPy's classes take object pointers from a file. This reader constructs
text, bytes, numbers, lists, tuples, dictionaries and uint8 arrays itself, and calls nothing.
"""

from __future__ import annotations

import math
import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distgan.errors import UserError, first_line

_MARK = object()

_RECONSTRUCT, _NDARRAY, _DTYPE, _ENCODE = "_reconstruct", "ndarray", "dtype", "encode"
_GLOBALS = {
    "numpy.core.multiarray _reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray _reconstruct": _RECONSTRUCT,
    "numpy ndarray": _NDARRAY,
    "numpy dtype": _DTYPE,
    "_codecs encode": _ENCODE,
}
"""The globals that a pickle may name, and what this reader uses for them."""

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = frozenset(
    ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
)
_TEXTS = frozenset(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"))
_BYTES = frozenset(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"))
_OLD_STRINGS = frozenset(("STRING", "BINSTRING", "SHORT_BINSTRING"))
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _RefusedError(Exception):
    """A pickle with contents that CIFAR's do not have."""


class _Global:
    """A name in `_GLOBALS`."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Type:
    """NumPy's dtype uint8."""


class _Array:
    """An array, empty until its state is set."""

    def __init__(self) -> None:
        self.values: NDArray[np.uint8] = np.empty(0, np.uint8)


def load(content: bytes, where: str) -> dict[str, Any]:
    """The dictionary that a pickle holds.

    Strings of Python 2 are bytes; the keys of the dictionary become text, and arrays among its
    values are uint8 arrays.

    Raises:
        UserError: when it is damaged, or holds anything that CIFAR's pickles do not have.
    """
    try:
        found = _Reader(len(content)).read(content)
        if not isinstance(found, dict):
            raise _RefusedError("no dictionary")
        return {
            text(key): value.values if isinstance(value, _Array) else value
            for key, value in found.items()
        }
    except Exception as error:
        # pickletools may raise many kinds of exceptions for damaged bytes.
        reason = first_line(error)
        raise UserError(f"{where}: not a pickle of CIFAR's ({reason}); copy it again") from None


def text(value: bytes | str | int) -> str:
    """A key or a name as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class _Reader:
    """One pickle's stack and memory.

    Args:
        size: bytes of the pickle; bounds the total size of constructed text.
    """

    def __init__(self, size: int) -> None:
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}
        self._left = size

    def read(self, content: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                break
            self._step(opcode.name, argument)
        return self._stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _NUMBERS or name in _TEXTS or name in _BYTES:
            stack.append(argument)
        elif name in _OLD_STRINGS:
            stack.append(argument.encode("latin1"))
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _TUPLES:
            stack.append(tuple(self._take(_TUPLES[name])))
        elif name in ("TUPLE", "LIST", "EMPTY_LIST", "DICT", "EMPTY_DICT"):
            self._container(name)
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            self._fill(name)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memory[len(self._memory) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memory[argument])
        elif name == "GLOBAL":
            stack.append(_named(argument))
        elif name == "STACK_GLOBAL":
            module, attribute = self._take(2)
            if not isinstance(module, str) or not isinstance(attribute, str):
                raise _RefusedError("asks for what is no name")
            stack.append(_named(f"{module} {attribute}"))
        elif name == "REDUCE":
            called, arguments = self._take(2)
            stack.append(self._call(called, arguments))
        elif name == "BUILD":
            (state,) = self._take(1)
            _build(stack[-1], state)
        elif name not in ("PROTO", "FRAME"):
            raise _RefusedError(f"holds an operation {name}")

    def _take(self, count: int) -> list[Any]:
        if count > len(self._stack):
            raise _RefusedError("takes more than there is")
        found = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return found

    def _since_mark(self) -> list[Any]:
        found: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            found.append(value)
        return found[::-1]

    def _container(self, name: str) -> None:
        parts = [] if name.startswith("EMPTY") else self._since_mark()
        if name == "TUPLE":
            self._stack.append(tuple(parts))
        elif name in ("LIST", "EMPTY_LIST"):
            self._stack.append(parts)
        else:
            self._stack.append({})
            _set(self._stack[-1], parts)

    def _fill(self, name: str) -> None:
        single = 1 if name == "APPEND" else 2
        parts = self._since_mark() if name.endswith("S") else self._take(single)
        if name.startswith("SET"):
            _set(self._stack[-1], parts)
        elif isinstance(self._stack[-1], list):
            self._stack[-1].extend(parts)
        else:
            raise _RefusedError("appends to what is no list")

    def _call(self, called: Any, arguments: Any) -> Any:
        name = called.name if isinstance(called, _Global) else None
        if name is None or not isinstance(arguments, tuple):
            raise _RefusedError("calls what is no name")
        if name == _ENCODE:
            # Protocol 2 writes bytes as a call of _codecs.encode.
            written, encoding = arguments
            if not isinstance(written, str) or encoding not in ("latin1", b"latin1"):
                raise _RefusedError("asks for an encoding that is not latin1")
            self._left -= len(written)
            if self._left < 0:
                raise _RefusedError("encodes more than it holds")
            return written.encode("latin1")
        if name == _DTYPE:
            if arguments[:1] not in (("u1",), (b"u1",)):
                raise _RefusedError("holds an array that is not uint8")
            return _Type()
        if name == _RECONSTRUCT:
            kind, shape, _ = arguments
            if isinstance(kind, _Global) and kind.name == _NDARRAY and shape == (0,):
                return _Array()
        raise _RefusedError("asks for an array of an unknown kind")


def _named(name: str) -> _Global:
    if name not in _GLOBALS:
        raise _RefusedError(f"asks for {name.replace(' ', '.', 1)}")
    return _Global(_GLOBALS[name])


def _set(target: Any, parts: list[Any]) -> None:
    if not isinstance(target, dict) or len(parts) % 2:
        raise _RefusedError("sets an item of what is no dictionary")
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        # Only simple keys: hashing nested tuples that share parts can take exponential time.
        if not isinstance(key, bytes | str | int):
            raise _RefusedError("has a key that is no text")
        target[key] = value


def _build(target: Any, state: Any) -> None:
    if not isinstance(state, tuple):
        raise _RefusedError("sets a state that is none of an array's")
    if isinstance(target, _Type):
        # Version and byte order, then fields of structured dtypes, which must be None.
        if len(state) < 5 or any(part is not None for part in state[2:5]):
            raise _RefusedError("holds an array that is not uint8")
        return
    if not isinstance(target, _Array) or len(state) != 5:
        raise _RefusedError("sets a state that is none of an array's")
    _, shape, kind, fortran, content = state
    if not isinstance(kind, _Type) or not isinstance(content, bytes):
        raise _RefusedError("holds an array that is not uint8")
    if fortran:
        raise _RefusedError("holds an array in Fortran's order")
    whole = isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 1 << 32 for n in shape)
    if not whole or len(shape) > 8 or math.prod(shape) != len(content):
        raise _RefusedError("holds an array whose bytes do not fit its shape")
    target.values = np.frombuffer(content, np.uint8).reshape(shape)
