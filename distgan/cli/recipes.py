"""`distgan recipes` and `distgan show`."""

from __future__ import annotations

import argparse

from distgan.cli.parser import Parser, Verbs


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verbs."""
    listed = verbs.add_parser("recipes", help="list the recipes")
    listed.set_defaults(execute=list_all)
    show = verbs.add_parser(
        "show", help="print a recipe's settings, with any overrides", takes_settings=True
    )
    show.add_argument("recipe", metavar="RECIPE")
    show.add_argument("--yaml", action="store_true", help="as the config.yaml of a run")
    show.set_defaults(execute=show_one)


def list_all(options: argparse.Namespace) -> int:
    """`distgan recipes`."""
    from rich.table import Table

    from distgan.cli.console import screen, text
    from distgan.recipes import known

    table = Table(box=None, pad_edge=False)
    for heading in ("recipe", "data", "images", "batch", ""):
        table.add_column(heading)
    for name, function in known().items():
        config = function()
        about = (function.__doc__ or "").partition("\n")[0]
        table.add_row(
            text((name, "bold")),
            config.data,
            f"{config.images:,}",
            str(config.batch),
            about,
        )
    screen().print(table)
    return 0


def show_one(options: argparse.Namespace) -> int:
    """`distgan show`."""
    from rich.table import Table

    from distgan import recipes
    from distgan.cli.console import say, screen, text
    from distgan.config import settings
    from distgan.families.registry import to_yaml

    config = settings.override(recipes.recipe(options.recipe), options.overrides)
    if options.yaml:
        say(to_yaml(config), end="")
        return 0
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    for setting in settings.leaves(config):
        if setting.name == "recipe":
            continue
        value = setting.value
        said = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        table.add_row(f"--{setting.name}", text((said, "bold")), setting.help)
    screen().print(table)
    return 0
