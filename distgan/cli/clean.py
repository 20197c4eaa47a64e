"""`distgan clean`."""

from __future__ import annotations

import argparse

from distgan.cli.parser import Parser, Verbs

_CLEAN = """\
Without --yes it only lists. Runs, searches and sets stay, whole or not; give their folders to
have files removed from them that a killed process never finished, an hour old or older. What a
live process uses stays too. A run, a search or a set itself is a folder: delete it as any other.
"""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "clean",
        help="list, or remove, caches and what killed runs left on this machine",
        epilog=_CLEAN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(execute=run)
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER", help="of a run, a search or a set, to look into"
    )
    parser.add_argument("--yes", action="store_true", help="remove what is listed")


def run(options: argparse.Namespace) -> int:
    """List what may be removed, and remove it with ``--yes``."""
    from distgan.errors import printable
    from distgan.storage import clean

    found = clean.find(options.folders)
    for leftover in found:
        print(f"{leftover.bytes / 1e6:10,.1f} MB  {printable(str(leftover.path))}  {leftover.what}")
    if not found:
        print("nothing to remove")
        return 0
    total = f"{sum(leftover.bytes for leftover in found) / 1e6:,.1f} MB"
    if not options.yes:
        print(f"{total} in all; nothing was removed: `distgan clean --yes` does")
        return 0
    for leftover in found:
        clean.remove(leftover)
    print(f"removed: {total}")
    return 0
