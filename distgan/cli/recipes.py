"""`distgan recipes`."""

from __future__ import annotations

import argparse

from distgan.cli.parser import Parser, Verbs


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    listed = verbs.add_parser("recipes", help="list the recipes")
    listed.set_defaults(execute=list_all)


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
