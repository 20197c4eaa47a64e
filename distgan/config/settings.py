"""How configuration dataclasses are declared, changed by dotted name, and checked.

Every component declares its own settings as a frozen pydantic dataclass; the string
under an attribute is its help text. A whole configuration is a tree of them.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from distgan.errors import UserError, brief, listed, printable

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
"""Pydantic configuration of every settings dataclass."""

T = TypeVar("T")

MOST_IMAGES = 10**15
"""Upper bound of any count; a larger number is a typing mistake and is refused at once."""

_SUFFIXES = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


def parse_count(value: Any) -> Any:
    """``"1.5M"`` -> 1500000, and so on; anything that is not such text stays as it is."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower().replace("_", "").replace(",", "")
    scale = _SUFFIXES.get(text[-1:], 1)
    try:
        number = float(text[:-1] if scale > 1 else text) * scale
    except ValueError:
        return value
    return int(number) if number.is_integer() else value


def short_count(number: int) -> str:
    """About this number as `parse_count` reads it, with two digits that count: ``5.1k``, ``2M``."""
    rounded = int(float(f"{number:.1e}"))
    for suffix, scale in (("M", 10**6), ("k", 10**3)):
        text = f"{rounded / scale:g}{suffix}"
        if rounded >= scale and parse_count(text) == rounded:
            return text
    return str(rounded)


def split_commas(value: Any) -> Any:
    """``"a,b"`` -> ``["a", "b"]``; anything but text stays as it is."""
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Count = Annotated[int, BeforeValidator(parse_count), Field(ge=0, le=MOST_IMAGES)]
"""A number of images; text may say ``60_000``, ``1.5M``, ``300k`` or ``1e6``."""

PositiveCount = Annotated[int, BeforeValidator(parse_count), Field(ge=1, le=MOST_IMAGES)]
"""A `Count` of at least one."""

Width = Annotated[int, Field(gt=0, le=2**16)]
"""Channels, features, or the length of a vector; weights grow with its square, hence the bound."""

Widths = Annotated[
    tuple[Width, ...], BeforeValidator(split_commas), Field(min_length=1, max_length=100)
]
"""Layer widths; text may say ``128,256,512``."""


def by_name(union: Any) -> dict[str, type[Any]]:
    """The settings dataclasses of an annotated union ``A | B | ...``, by their ``name``."""
    return {kind.name: kind for kind in get_args(get_args(union)[0])}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One leaf of a configuration: its dotted name, value and help text."""

    name: str
    value: Any
    help: str


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration as plain JSON-able values."""
    result: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return result


def from_dict(kind: type[T], values: Mapping[str, Any], source: str = "") -> T:
    """Check ``values`` against the settings dataclass ``kind`` and build it.

    Raises:
        UserError: on the first value that does not fit, naming its field.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise UserError(_explain(error, source)) from None


def leaves(config: Any, prefix: str = "") -> Iterator[Setting]:
    """Every setting of a configuration, in the order in which it is declared."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{name}.")
        else:
            yield Setting(name, value, help_text(type(config), field.name))


def help_text(kind: type, name: str) -> str:
    """The text under a field of a settings dataclass, wherever it was declared.

    pydantic keeps it with the class that declares the field, and not with those that inherit it.
    """
    for owner in kind.__mro__:
        field = vars(owner).get("__pydantic_fields__", {}).get(name)
        if field is not None and field.description:
            return str(field.description)
    return ""


def override(config: T, changes: Mapping[str, Any]) -> T:
    """A copy of ``config`` with settings replaced by dotted name.

    Changing the ``name`` of a network, loss or the like starts from the defaults of
    the new one. Values may be text, as typed on a command line.

    Raises:
        UserError: for a name that does not exist (with the nearest that does) or a
            value of the wrong type or range.
    """
    values = to_dict(config)
    # A changed "name" decides which other settings exist, so it goes first.
    for dotted in sorted(changes, key=lambda key: (key.split(".")[-1] != "name", key.count("."))):
        *path, last = dotted.split(".")
        group = _group(values, path)
        if group is None or (not path and last not in group):
            raise UnknownSettingError(dotted, config)
        if isinstance(group.get(last), dict):
            raise UserError(_is_group(dotted, group[last], changes[dotted], config))
        if last == "name" and group.get(last) != changes[dotted]:
            group.clear()
        group[last] = changes[dotted]
    try:
        return TypeAdapter(type(config)).validate_python(values)
    except ValidationError as error:
        if (unknown := _unknown(error, config)) is not None:
            raise UnknownSettingError(unknown, config) from None
        raise UserError(_explain(error, "", config)) from None


def override_typed(config: T, changes: Mapping[str, Any]) -> T:
    """As `override`, for changes that somebody typed: one that would do nothing is refused.

    A configuration says which do nothing by ``idle()``, see `distgan.config.run.RunConfig`.

    Raises:
        UserError: as `override`, and for a setting without effect, with the remedy.
    """
    changed = override(config, changes)
    for name, reason in changed.idle():  # type: ignore[attr-defined]
        if name in changes:
            raise UserError(
                f"--{name} {_short(str(changes[name]))}: has no effect {reason}; change that, or "
                "leave it out"
            )
    return changed


class UnknownSettingError(UserError):
    """A dotted name that no setting has; the message tells the nearest that there is."""

    def __init__(self, name: str, config: Any) -> None:
        super().__init__(unknown_setting(name, config))
        self.name = name
        self.known = [setting.name for setting in leaves(config)]


def _unknown(error: ValidationError, config: Any) -> str | None:
    first = error.errors(include_url=False)[0]
    if first["type"] == "unexpected_keyword_argument" and first["loc"]:
        return _dotted(first["loc"], config)
    return None


def _is_group(dotted: str, group: dict[str, Any], given: Any, config: Any) -> str:
    if "name" in group:
        near = f", did you mean --{dotted}.name {_short(given)}?" if isinstance(given, str) else ""
        return f"--{dotted}: is a group of settings{near}; `distgan show` lists them"
    inside = [s.name for s in leaves(config) if s.name.startswith(f"{dotted}.")]
    return f"--{dotted}: is a group of settings; name one of {listed(inside)}"


def unknown_setting(name: str, config: Any) -> str:
    """The sentence for a setting that does not exist, with the nearest that does."""
    known = [setting.name for setting in leaves(config)]
    name = _short(name)
    return f"--{name}: no such setting{nearest(name, known, '--')}; `distgan show` lists them"


def nearest(name: str, known: list[str], prefix: str = "") -> str:
    """``", did you mean X?"`` for the known name closest to ``name``, or nothing."""
    if len(name) > _LONGEST_NAME:
        return ""  # The comparison takes time quadratic in the length.
    last = {choice.split(".")[-1]: choice for choice in reversed(known)}
    own = name.split(".")[-1]
    if own in last:
        # A known last part under another prefix: compare only with names that end in it.
        same = [choice for choice in known if choice.split(".")[-1] == own]
        match = difflib.get_close_matches(name, same, n=1, cutoff=0)
    else:
        match = difflib.get_close_matches(name, known, n=1) or [
            last[m] for m in difflib.get_close_matches(own, list(last), n=1)
        ]
    return f", did you mean {prefix}{match[0]}?" if match else ""


_LONGEST_NAME = 200
"""Characters of the longest name that is compared with the known ones."""


def _group(values: dict[str, Any], path: list[str]) -> dict[str, Any] | None:
    node: Any = values
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


def _explain(error: ValidationError, source: str, config: Any = None) -> str:
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        # An error of a configuration's own validator, whose message names the fields itself.
        sentence = first["msg"].removeprefix("Value error, ")
        return f"{source}: {sentence}" if source else sentence
    where = _dotted(first["loc"], config)
    # Options of other verbs than train are spelled with dashes.
    option = where if config is not None else where.replace("_", "-")
    prefix = f"{source}: {where}" if source else f"--{option}"
    if first["type"] == "unexpected_keyword_argument":
        if config is not None:
            return unknown_setting(where, config)
        return f"{prefix}: no such setting; remove it"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    message = message[0].lower() + message[1:]
    if first["type"] == "union_tag_invalid":
        context = first["ctx"]
        known = context["expected_tags"].replace("'", "")
        near = nearest(_short(context["tag"]), known.split(", "))
        return f"{prefix}.name {brief(context['tag'])}: no such choice{near}; have {known}"
    return f"{prefix} {brief(first['input'])}: {message}"


def _dotted(loc: tuple[int | str, ...], config: Any) -> str:
    # pydantic inserts the tag of a discriminated union between two field names. It may be
    # another than the configuration's, which is the one from before the change.
    parts: list[str] = []
    node, tagged = config, False
    for part in loc:
        name = str(part)
        tagged = not tagged and dataclasses.is_dataclass(node) and hasattr(node, "name")
        if tagged:
            continue
        parts.append(_short(name))
        node = getattr(node, name, None)
    return ".".join(parts)


def _short(name: str) -> str:
    # An unknown name comes from the user: it may be very long or hold control characters.
    return printable(name if len(name) <= 80 else f"{name[:77]}...")
