"""Tables of settings in the guides, generated from the dataclasses that declare the settings.

A guide marks the place of a table with two comments, between which it is written::

    <!-- settings: discriminator.penalty -->
    <!-- end -->

The first names a group of a run's settings by its dotted name, ``run`` for the settings that are
in no group, or a settings class by its module and name, for the options of one command. Settings
that another family has, ``RECIPE:GROUP`` names by one of its recipes.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

import distgan
from distgan.config.schedule import Schedule
from distgan.config.settings import help_text, parse_count

BLOCK = re.compile(r"<!-- settings: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)
"""One marked block: its target, and what stands between the two comments."""


def rewritten(markdown: str, root: type) -> str:
    """A guide with every table as the dataclasses are now.

    Args:
        markdown: the guide's text.
        root: the class of a whole configuration, where dotted names begin without ``RECIPE:``.

    Raises:
        LookupError: for a block that names no group and no class.
    """
    return BLOCK.sub(
        lambda block: f"<!-- settings: {block[1]} -->\n{_block(block[1], root)}\n<!-- end -->",
        markdown,
    )


def located(markdown: str) -> str:
    """A guide whose references such as ```distgan/data/feed.py:61` `batch``` name the line of the
    function that they named before, the nearest of several."""

    def reference(found: re.Match[str]) -> str:
        file, line, name = found.groups()
        lines = (Path(__file__).parents[2] / file).read_text(encoding="utf-8").splitlines()
        here = [n for n, text in enumerate(lines, 1) if re.match(rf"\s*def {name}\(", text)]
        nearest = min(here, key=lambda number: abs(number - int(line)))
        return f"`{file}:{nearest}` `{name}`"

    return re.sub(r"`(distgan/[\w/]+\.py):(\d+)` `(\w+)`", reference, markdown)


def groups(root: type) -> list[str]:
    """The targets that together show every setting of a configuration: ``run`` and all groups."""
    return ["run", *_groups(root, "")]


def _groups(kind: type, prefix: str) -> Iterator[str]:
    for name, field in _fields(kind).items():
        inner = _settings_classes(field.annotation)
        if not inner:
            continue
        dotted = f"{prefix}{name}"
        own = [f for f in _fields(inner[0]).values() if not _settings_classes(f.annotation)]
        if len(inner) > 1 or own:
            yield dotted
        yield from _groups(inner[0], f"{dotted}.")


def _block(target: str, root: type) -> str:
    if "." in target and target.split(".")[-1][0].isupper():
        module, _, name = target.rpartition(".")
        return _table(getattr(import_module(module), name), "--", dashes=True)
    name, _, target = target.rpartition(":")
    if name:
        root = type(distgan.recipe(name))
    if target == "run":
        return _table(root, "--", leave_out="recipe")
    kinds, default = [root], None
    for name in target.split("."):
        if name not in _fields(kinds[0]):
            raise LookupError(f"<!-- settings: {target} -->: there is no group {name}")
        field = _fields(kinds[0])[name]
        kinds, default = _settings_classes(field.annotation), field
    if len(kinds) == 1:
        # What holds the group may have defaults of its own for it.
        usual = None
        if default is not None and not default.is_required():
            usual = default.get_default(call_default_factory=True)
        return f"Settings that begin with `--{target}.`:\n\n{_table(kinds[0], usual=usual)}"
    return _variants(kinds, target, default)


def _variants(kinds: list[type], target: str, field: FieldInfo | None) -> str:
    """Every variant that a group may have, each with its own settings."""
    assert field is not None
    chosen = field.get_default(call_default_factory=True)
    parts = []
    for kind in kinds:
        name = _fields(kind)["name"].default
        about = (kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ").strip()
        usual = " (the default)" if getattr(chosen, "name", None) == name else ""
        table = _table(kind, leave_out="name")
        parts.append(f"**`name {name}`**{usual}: {about}")
        if table:
            parts.append(table)
    begin = f"Settings that begin with `--{target}.`, for each `name`:"
    return "\n\n".join([begin, *parts])


def _table(
    kind: type, prefix: str = "", *, dashes: bool = False, leave_out: str = "", usual: Any = None
) -> str:
    rows = []
    for name, field in _fields(kind).items():
        if name == leave_out or _settings_classes(field.annotation):
            continue
        spelled = name.replace("_", "-") if dashes else name
        values = _values(field.annotation, field.metadata)
        default = _default(field) if usual is None else _shown(getattr(usual, name))
        about = " ".join(help_text(kind, name).split()).replace("``", "`")
        rows.append(f"| `{prefix}{spelled}` | {values} | {default} | {_cell(about)} |")
    return "\n".join([*_HEADING, *rows]) if rows else ""


_HEADING = ("| setting | values | default | what it does |", "|---|---|---|---|")


def _fields(kind: type) -> dict[str, FieldInfo]:
    found: dict[str, FieldInfo] = kind.__pydantic_fields__  # type: ignore[attr-defined]
    return found


def _settings_classes(annotation: Any) -> list[type]:
    """The settings dataclasses that a field may hold; none for a field that is one setting."""
    if get_origin(annotation) is Annotated:
        return _settings_classes(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for part in get_args(annotation) for kind in _settings_classes(part)]
    is_one = isinstance(annotation, type) and dataclasses.is_dataclass(annotation)
    return [annotation] if is_one else []


def _values(annotation: Any, metadata: list[Any]) -> str:
    """What may be given for a setting, in words."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _values(inner, [*metadata, *more])
    if origin in (Union, types.UnionType):
        return " or ".join(_values(part, metadata) for part in get_args(annotation))
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
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


_WORDS = {
    bool: "`true`, `false`",
    Schedule: "a number or schedule",
    type(None): "nothing",
}


def _least(bound: Any) -> float:
    """The least whole number that a bound lets through."""
    if isinstance(bound, Gt):
        return int(cast(int, bound.gt)) + 1
    return int(cast(int, bound.ge)) if isinstance(bound, Ge) else -math.inf


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "the recipe's"
    return _shown(field.get_default(call_default_factory=True))


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if value == ():
        return "empty"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(words: str) -> str:
    """Words as they may stand in a cell of a Markdown table."""
    return words.replace("|", "\\|").replace("<", "&lt;")
