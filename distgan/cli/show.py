"""`distgan show`: a recipe's settings in groups, all of them or those that a word names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from distgan.cli.parser import Parser, Verbs
from distgan.errors import UserError, brief

if TYPE_CHECKING:
    from distgan.cli.console import Part
    from distgan.config.described import Described, Group

_SHOW = """\
A word names a group of settings, a setting, or what their explanations speak of:

  distgan show mnist-mlp                  every setting that the recipe has
  distgan show mnist-mlp augment          one group, with all that its variants would bring
  distgan show mnist-mlp lr beta1         every setting of one of these names
  distgan show mnist-mlp --loss hinge     with a change
  distgan show mnist-mlp --yaml > my.yaml     a file for `distgan train --config`
"""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "show",
        help="print a recipe's settings, with any overrides",
        epilog=_SHOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        takes_settings=True,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="`distgan recipes` lists them")
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only settings that this names [all]"
    )
    parser.add_argument("--yaml", action="store_true", help="as the config.yaml of a run")
    parser.set_defaults(execute=run)


def run(options: argparse.Namespace) -> int:
    """Print the settings."""
    from distgan import recipes
    from distgan.cli.console import WIDEST, say, screen, text
    from distgan.config import described, settings
    from distgan.families.registry import to_yaml

    config = settings.override_typed(recipes.recipe(options.recipe), options.overrides)
    if options.yaml:
        if options.words:
            raise UserError(f"--yaml {brief(options.words[0])}: is of all settings; leave one out")
        say(to_yaml(config), end="")
        return 0
    everything = list(described.groups(config))
    found = named(everything, options.words) if options.words else everything
    console = screen()
    for part in _lines(found, everything, min(console.width, WIDEST), bool(options.words)):
        console.print(text(*part), soft_wrap=True)
    return 0


def named(groups: Sequence[Group], words: Sequence[str]) -> list[Group]:
    """The groups and settings that any of the words names, in their order.

    A word that is a part of a dotted name means that part; else it means names that hold it,
    else explanations that do.

    Raises:
        UserError: for a word that names nothing, with the nearest name that there is.
    """
    kept: set[tuple[str, str]] = set()
    for word in words:
        kept |= _meant(groups, word.removeprefix("--").replace("-", "_").lower())
    return [
        replace(group, settings=own)
        for group in groups
        if (own := tuple(s for s in group.settings if (s.name, group.variant) in kept))
    ]


def _meant(groups: Sequence[Group], word: str) -> set[tuple[str, str]]:
    every = [(setting, group) for group in groups for setting in group.settings]
    for fits in (_is_part, _is_in_name, _is_in_help):
        found = {(s.name, group.variant) for s, group in every if fits(s, group, word)}
        if found:
            return found
    from distgan.config.settings import nearest

    parts = dict.fromkeys(part for setting, _ in every for part in setting.name.split("."))
    raise UserError(
        f"{brief(word)}: no setting is named so or speaks of it{nearest(word, list(parts))}"
    )


def _is_part(setting: Described, group: Group, word: str) -> bool:
    return f".{word}." in f".{setting.name}." or (bool(word) and word == group.variant)


def _is_in_name(setting: Described, group: Group, word: str) -> bool:
    return bool(word) and word in setting.name


def _is_in_help(setting: Described, group: Group, word: str) -> bool:
    return bool(word) and word.replace("_", " ") in setting.help.lower().replace("-", " ")


def _lines(
    groups: Sequence[Group], everything: Sequence[Group], width: int, variants: bool
) -> Iterator[tuple[Part, ...]]:
    """Parts of every line; with ``variants`` also the settings of those that are not chosen."""
    first = True
    for group in groups:
        if not group.chosen and not variants:
            continue
        own = [s for s in group.settings if group.chosen or not s.name.endswith(".name")]
        if not own:
            continue
        if not first:
            yield ("",)
        first = False
        yield from _heading(group, width)
        for setting in own:
            yield from _setting(setting, width)
        if group.chosen and group.variant and not variants:
            yield from _others(group, everything, width)


def _heading(group: Group, width: int) -> Iterator[tuple[Part, ...]]:
    from distgan.cli.console import wrapped

    name = group.name or "the run"
    if group.variant and not group.chosen:
        title = f"what --{name}.name {group.variant} brings"
    else:
        title = f"{name}, {group.variant}" if group.variant else name
    yield ((title, "bold underline"),)
    for line in wrapped(group.about, width, ""):
        yield ((line, "dim"),)


def _setting(setting: Described, width: int) -> Iterator[tuple[Part, ...]]:
    from distgan.cli.console import wrapped
    from distgan.config.described import shown

    yield ("  ", (f"--{setting.name}", "cyan"), "  ", (shown(setting.value), "bold"))
    takes = setting.takes.replace("`", "")
    # Of a name the explanation lists the choices.
    plain = takes in ("text", "true, false", shown(setting.value)) or setting.name.endswith(".name")
    about = setting.help if plain else f"{setting.help} ({takes})"
    for line in wrapped(about, width, "      "):
        yield (line,)


def _others(group: Group, everything: Sequence[Group], width: int) -> Iterator[tuple[Part, ...]]:
    """What other variants would bring, by name only."""
    from distgan.cli.console import wrapped

    for other in everything:
        if other.name != group.name or other.chosen:
            continue
        names = [s.name.rpartition(".")[2] for s in other.settings if not s.name.endswith(".name")]
        said = f"--{other.name}.name {other.variant}: has {', '.join(names) or 'no settings'}"
        for line in wrapped(said, width, "  "):
            yield ((line, "dim"),)
