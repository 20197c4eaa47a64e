"""What settings there are, read from the dataclasses that declare them: groups, variants, values.

A group is a settings dataclass inside another. Where a field may hold one of several, such as any
network, each is a *variant*, chosen by its ``name``.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from distgan.config.schedule import Schedule
from distgan.config.settings import help_text, parse_count


@dataclasses.dataclass(frozen=True)
class Described:
    """One setting of a group."""

    name: str
    """Its dotted name."""
    value: Any
    """In the configuration; the default of a variant that is not chosen."""
    takes: str
    """What may be given for it, in words."""
    help: str
    choices: tuple[str, ...] = ()
    """The words that it takes, where it takes a few words only."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Settings whose names differ only in the last part."""

    name: str
    """The parts that they share, ``""`` for a run's own."""
    about: str
    settings: tuple[Described, ...]
    variant: str = ""
    """The ``name`` that brings these settings, where several may stand here."""
    chosen: bool = True
    """Whether the configuration has this variant."""


def groups(config: Any, prefix: str = "") -> Iterator[Group]:
    """Every group of a configuration, each followed by its variants that are not chosen."""
    kind, inner = type(config), []
    variant = getattr(config, "name", "")
    yield Group(prefix.rstrip("."), summary(kind), _described(config, kind, prefix), variant)
    for name, field in fields(kind).items():
        if settings_classes(field.annotation):
            inner.append((name, field))
    for name, field in inner:
        value = getattr(config, name)
        yield from groups(value, f"{prefix}{name}.")
        for other in settings_classes(field.annotation):
            if other is not type(value):
                own = variant_name(other)
                described = _described(None, other, f"{prefix}{name}.")
                yield Group(f"{prefix}{name}", summary(other), described, own, chosen=False)


def _described(config: Any, kind: type, prefix: str) -> tuple[Described, ...]:
    found = []
    for name, field in fields(kind).items():
        if settings_classes(field.annotation) or f"{prefix}{name}" == "recipe":
            continue
        if config is None:
            value = field.get_default(call_default_factory=True)
        else:
            value = getattr(config, name)
        takes = values_in_words(field.annotation, field.metadata)
        about = " ".join(help_text(kind, name).split())
        words = choices(field.annotation)
        found.append(Described(f"{prefix}{name}", value, takes, about, words))
    return tuple(found)


def summary(kind: type) -> str:
    """The first paragraph of a class's docstring, as one line."""
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


def variant_name(kind: type) -> str:
    """The ``name`` that chooses a variant."""
    return str(fields(kind)["name"].default)


def fields(kind: type) -> dict[str, FieldInfo]:
    """The fields of a settings dataclass by name, in the order in which they are declared."""
    found: dict[str, FieldInfo] = kind.__pydantic_fields__  # type: ignore[attr-defined]
    return found


def settings_classes(annotation: Any) -> list[type]:
    """The settings dataclasses that a field may hold; none for a field that is one setting."""
    if get_origin(annotation) is Annotated:
        return settings_classes(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for part in get_args(annotation) for kind in settings_classes(part)]
    is_one = isinstance(annotation, type) and dataclasses.is_dataclass(annotation)
    return [annotation] if is_one else []


def choices(annotation: Any) -> tuple[str, ...]:
    """The words that a setting takes, where it takes a few words only."""
    if get_origin(annotation) is Annotated:
        return choices(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    return ("true", "false") if annotation is bool else ()


def values_in_words(annotation: Any, metadata: list[Any]) -> str:
    """What may be given for a setting, in words; words to be typed as they are in backticks."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return values_in_words(inner, [*metadata, *more])
    if origin in (Union, types.UnionType):
        return " or ".join(values_in_words(part, metadata) for part in get_args(annotation))
    if words := choices(annotation):
        return ", ".join(f"`{word}`" for word in words)
    if origin is tuple:
        return "a list, with commas" if get_args(annotation)[-1] is Ellipsis else "a pair"
    if annotation is int:
        counted = any(isinstance(m, BeforeValidator) and m.func is parse_count for m in metadata)
        least = max((_least(m) for m in metadata), default=-math.inf)
        said = "" if least == -math.inf or (counted and least < 2) else f", at least {least}"
        return ("a count, such as `300k`" if counted else "a whole number") + said
    if annotation is float:
        signs = [f", above {m.gt}" for m in metadata if isinstance(m, Gt)]
        return "".join(
            ["a number", *signs, *(f", at least {m.ge}" for m in metadata if isinstance(m, Ge))]
        )
    return _WORDS.get(annotation, "text")


_WORDS = {Schedule: "a number or schedule", type(None): "nothing"}


def _least(bound: Any) -> float:
    """The least whole number that a bound lets through."""
    if isinstance(bound, Gt):
        return int(cast(int, bound.gt)) + 1
    return int(cast(int, bound.ge)) if isinstance(bound, Ge) else -math.inf


def shown(value: Any) -> str:
    """A value as it may be typed."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "empty"
    return str(value).lower() if isinstance(value, bool) else str(value) or "empty"
