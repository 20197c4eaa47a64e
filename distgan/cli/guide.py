"""`distgan guide`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, ClassVar

from distgan.cli.parser import Parser, Verbs
from distgan.errors import UserError, brief

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser("guide", help="read the guides: data, training, metrics, ...")
    parser.set_defaults(execute=run)
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="of a guide; without one they are listed"
    )


def run(options: argparse.Namespace) -> int:
    """List the guides, or show one: formatted in a terminal, else as Markdown text."""
    from distgan import guides
    from distgan.cli.console import WIDEST, say, screen, text

    if options.name is None:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, show_header=False)
        for name in guides.ORDER:
            table.add_row(text((name, "bold")), guides.summary(name))
        screen().print(table)
        say("\n`distgan guide NAME` shows one of them.")
        return 0
    markdown = guides.for_terminal(guides.text(_known(options.name)))
    console = screen()
    if not console.is_terminal:
        say(markdown, end="")
        return 0
    console.print(_drawn(markdown), width=min(console.width, WIDEST))
    return 0


def _drawn(markdown: str) -> Markdown:
    """Markdown for a terminal, whose tables break long names where rich would cut them."""
    from rich.markdown import Markdown, TableElement
    from rich.table import Table

    class Whole(TableElement):
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for part in super().__rich_console__(console, options):
                if isinstance(part, Table):
                    for column in part.columns:
                        column.overflow = "fold"
                yield part

    class Drawn(Markdown):
        elements: ClassVar = {**Markdown.elements, "table_open": Whole}

    return Drawn(markdown, hyperlinks=False)


def _known(name: str) -> str:
    """A guide's name, as `distgan.guides.ORDER` has it.

    Raises:
        UserError: for any other, with the nearest that there is.
    """
    from distgan.config.settings import nearest
    from distgan.guides import ORDER

    if name in ORDER:
        return name
    near = nearest(name, list(ORDER))
    raise UserError(f"guide {brief(name)}: there is no such guide{near}; have {', '.join(ORDER)}")
