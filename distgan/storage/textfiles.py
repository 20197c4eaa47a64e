"""Reads the text files of a run or a search as untrusted input.

All decoding, parsing and checking of such files is here, so that every failure is a `UserError`
that names the file, what is wrong with it, and the remedy.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Hashable, Iterator
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from distgan.errors import UserError, brief, first_line, printable
from distgan.storage.storage import Storage

_DEEPEST = 50
"""Upper bound of nested brackets; no file of this package has more than a dozen."""
_LONGEST_YAML = 2**17
"""Upper bound of characters, which PyYAML reads in some seconds; a configuration has 3,000."""
_LARGEST_INT = 2**63 - 1
"""Largest integer that is accepted. A larger one may not be convertible to float or a tensor."""


T = TypeVar("T")


class Shape(BaseModel):
    """The fields that a JSON object must have; others are allowed. See `check`."""

    model_config = ConfigDict(extra="allow", strict=True)


def read_bytes(storage: Storage, name: str, remedy: str) -> bytes:
    """The content of a file.

    Raises:
        UserError: when the file does not exist, is a folder, or cannot be read.
    """
    try:
        if storage.is_folder(name):
            raise UserError(f"{storage.show(name)}: is a folder, not a file; {remedy}")
        refuse_irregular(storage, storage.path(name), storage.show(name))
        return storage.read(name)
    except OSError as error:
        raise UserError(
            f"{storage.show(name)}: cannot be read ({first_line(error)}); {remedy}"
        ) from None


def refuse_irregular(storage: Storage, path: str, shown: str) -> None:
    """Check that a path on a local filesystem is a regular file.

    Reading from a pipe or a device may block or not end.

    Args:
        path: inside the storage's filesystem.
        shown: how errors name it.

    Raises:
        UserError: when it is not.
    """
    if not storage.local:
        return
    try:
        kind = os.stat(path).st_mode
    except OSError:
        # A missing or inaccessible file is reported by the read that follows.
        return
    if not stat.S_ISREG(kind):
        raise UserError(f"{shown}: is a folder, pipe, device or socket, not a file; remove it")


def read_text(storage: Storage, name: str, remedy: str) -> str:
    """The content of a UTF-8 file.

    Raises:
        UserError: as `read_bytes`, and for bytes that are not UTF-8.
    """
    content = read_bytes(storage, name, remedy)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{storage.show(name)}: is damaged (not UTF-8); {remedy}") from None


def read_json(storage: Storage, name: str, shape: Any, remedy: str) -> Any:
    """The value of a JSON file, unconverted, after checking its shape.

    Args:
        shape: a type for pydantic, such as ``list[Entry]`` with a `Shape` ``Entry``.

    Raises:
        UserError: for a file that cannot be read, is not JSON, or has another shape.
    """
    source = storage.show(name)
    value = parse_json(read_text(storage, name, remedy), source, remedy)
    return check(shape, value, source, remedy)


def read_lines(
    storage: Storage, name: str, shape: type[Shape], remedy: str, *, cut: bool = False
) -> list[dict[str, Any]]:
    """The objects of a file with one JSON object per line; empty if there is no such file.

    Args:
        cut: whether to ignore a last line that is not JSON, as a killed writer leaves it.

    Raises:
        UserError: as `read_json`, naming the line.
    """
    if not storage.exists(name):
        return []
    lines = [
        (number, line)
        for number, line in enumerate(read_text(storage, name, remedy).split("\n"), 1)
        if line.strip()
    ]
    found = []
    for number, line in lines:
        source = f"{storage.show(name)}: line {number}"
        try:
            value = parse_json(line, source, remedy)
        except UserError:
            if cut and number == lines[-1][0]:
                break
            raise
        found.append(check(shape, value, source, remedy))
    return found


def parse_json(text: str, source: str, remedy: str) -> Any:
    """The value of JSON text; numbers that are not finite become None.

    Raises:
        UserError: for text that is not JSON, is nested too deeply, or has a number beyond 64 bits
            or a lone surrogate.
    """
    try:
        value = json.loads(
            text, parse_int=_integer, parse_float=_number, parse_constant=lambda name: None
        )
        if "\\u" in text:
            # A lone surrogate, from an escape such as \ud800, could not be encoded later.
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        _refuse(source, "brackets within brackets without end", remedy)
    except ValueError as error:
        _refuse(source, f"no JSON: {first_line(error)}", remedy)
    if text.count("[") + text.count("{") > _DEEPEST and _deeper(value, _DEEPEST):
        _refuse(source, f"more than {_DEEPEST} brackets within one another", remedy)
    return value


def parse_yaml(text: str, source: str, remedy: str) -> dict[str, Any]:
    """Parse YAML text that holds a mapping.

    ``on``, ``off``, ``yes`` and ``no`` are strings, as in YAML 1.2: pydantic converts them for a
    boolean setting, and a setting with such a choice takes them as they are.

    Raises:
        UserError: for text that is not YAML or not a mapping, has aliases, tags or a duplicate
            key, or is longer or more deeply nested than a configuration.
    """
    if len(text) > _LONGEST_YAML:
        reason = f"{len(text):,} characters, more than {_LONGEST_YAML:,}"
        raise UserError(f"{source}: is no configuration ({reason}); {remedy}")
    try:
        value: Any = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}: " if mark is not None else ""
        raise UserError(
            f"{source}: cannot be read as YAML ({place}{printable(str(error.problem))}); {remedy}"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(
            f"{source}: cannot be read as YAML ({first_line(error)}); {remedy}"
        ) from None
    if not isinstance(value, dict):
        raise UserError(f"{source}: is no configuration (no mapping of settings); {remedy}")
    return value


def check(shape: Any, value: Any, source: str, remedy: str) -> Any:
    """Check a value's shape with pydantic, and return it unconverted.

    Raises:
        UserError: naming the first place that does not fit.
    """
    convert(shape, value, source, remedy)
    return value


def convert(kind: type[T], value: Any, source: str, remedy: str) -> T:
    """Convert a value to ``kind`` with pydantic.

    Raises:
        UserError: naming the first place that does not fit.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        _refuse(source, _misfit(error), remedy)


def _misfit(error: ValidationError) -> str:
    """The first error that pydantic found: where, the value, and what is expected."""
    first = error.errors(include_url=False)[0]
    place = ".".join(brief(part).strip("'") for part in first["loc"]) or "the whole"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    message = f"{message[:1].lower()}{message[1:]}"
    if first["type"] == "missing":
        return f"has no {place}"
    return f"{place} {brief(first['input'])}: {message if len(message) < 200 else first['type']}"


def _refuse(source: str, what: str, remedy: str) -> NoReturn:
    raise UserError(f"{source}: is damaged ({what}); {remedy}") from None


def _integer(text: str) -> int:
    value = int(text) if len(text) < 30 else _LARGEST_INT + 1
    if abs(value) > _LARGEST_INT:
        raise ValueError("a number beyond 64 bits")
    return value


def _number(text: str) -> float | None:
    value = float(text)
    return value if abs(value) < float("inf") else None


def _deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        level = [part for whole in level for part in _parts(whole)]
        if not level:
            return False
    return True


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (part for part in value.values() if isinstance(part, (dict, list)))
    elif isinstance(value, list):
        yield from (part for part in value if isinstance(part, (dict, list)))


class _Loader(yaml.SafeLoader):
    """A YAML loader that refuses aliases and tags, which a configuration does not need.

    Nested aliases expand exponentially (a kilobyte can mean a billion values), and tags construct
    objects of other types.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            _object(event, "an alias or anchor (& or *); write the value itself, or quote it")
        if getattr(event, "tag", None) is not None and event.tag != "!":
            _object(event, "a tag (!); write plain values")
        self._depth += 1
        if self._depth > _DEEPEST:
            _object(event, f"more than {_DEEPEST} brackets within one another")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                _object(key_node, "a key that is no name")
            if key in found:
                _object(key_node, f"{brief(key)} is there twice; keep one of them")
            found[key] = self.construct_object(value_node, deep=deep)
        return found


def _object(place: Any, problem: str) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, problem, place.start_mark)


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    return _integer(node.value.replace("_", ""))


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(node.value.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


# Unquoted words are strings, except for the types resolved below. YAML 1.1 would also read on,
# off, yes and no as booleans, 1:30 as 90, 010 as 8, and 2026-01-01 as a date. PyYAML writes
# strings of these forms with quotes, as it follows YAML 1.1, so they are read back unchanged.
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9_]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.(inf|Inf|INF))"
        r"|\.[0-9][0-9_]*([eE][-+][0-9]+)?|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)
