"""Tables of settings in the guides, generated from the dataclasses that declare the settings.

A guide marks the place of a table with two comments, between which it is written::

    <!-- settings: discriminator.penalty -->
    <!-- end -->

The first names a group of a run's settings by its dotted name, ``run`` for the settings that are
in no group, or a settings class by its module and name, for the options of one command. Settings
that another family has, ``RECIPE:GROUP`` names by one of its recipes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

import distgan
from distgan.config import described
from distgan.config.described import fields, settings_classes, values_in_words
from distgan.config.settings import help_text

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
    for name, field in fields(kind).items():
        inner = settings_classes(field.annotation)
        if not inner:
            continue
        dotted = f"{prefix}{name}"
        own = [f for f in fields(inner[0]).values() if not settings_classes(f.annotation)]
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
        if name not in fields(kinds[0]):
            raise LookupError(f"<!-- settings: {target} -->: there is no group {name}")
        field = fields(kinds[0])[name]
        kinds, default = settings_classes(field.annotation), field
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
        name = described.variant_name(kind)
        about = described.summary(kind)
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
    for name, field in fields(kind).items():
        if name == leave_out or settings_classes(field.annotation):
            continue
        spelled = name.replace("_", "-") if dashes else name
        values = values_in_words(field.annotation, field.metadata)
        default = _default(field) if usual is None else _shown(getattr(usual, name))
        about = " ".join(help_text(kind, name).split()).replace("``", "`")
        rows.append(f"| `{prefix}{spelled}` | {values} | {default} | {_cell(about)} |")
    return "\n".join([*_HEADING, *rows]) if rows else ""


_HEADING = ("| setting | values | default | what it does |", "|---|---|---|---|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "the recipe's"
    return _shown(field.get_default(call_default_factory=True))


def _shown(value: Any) -> str:
    text = described.shown(value)
    return text if value is None or value == () else f"`{text}`"


def _cell(words: str) -> str:
    """Words as they may stand in a cell of a Markdown table."""
    return words.replace("|", "\\|").replace("<", "&lt;")
