"""`distgan bench`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from distgan.cli.parser import Parser, Verbs
from distgan.errors import UserError

_BENCH = """\
For instance:

  distgan bench --list
  distgan bench step --quick
  distgan bench step --help               what this one can be asked besides
  distgan bench step --resume bench-results/step-...    go on after Ctrl-C
  distgan bench all --quick               every one of them, in under ten minutes

Sides take turns in one run, the first also beside itself, which shows the machine's noise;
pairs during which others used the machine are dropped and counted. A table is printed, and
results.json, with every turn, and plot.html are written. `python -m benchmarks.NAME` is the same.
"""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "bench",
        help="measure how fast it is, in a checkout",
        usage="distgan bench [--list] NAME [OPTIONS]",
        epilog=_BENCH,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(execute=run)
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("name", nargs="?", metavar="NAME", help="of a benchmark, or all")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="OPTIONS", help="its options")


def run(options: argparse.Namespace) -> int:
    """List the benchmarks, or run one."""
    _find_checkout()
    from benchmarks.frame import child, command, everything, known

    if options.list:
        _list(known.KNOWN, "distgan bench all runs, in turn")
        _list(known.APART, "by themselves")
        return 0
    if options.name is None:
        raise UserError("bench: which one? `distgan bench --list` lists them")
    program = f"distgan bench {options.name}"
    if options.name == known.ALL:
        return everything.run_all(options.options, program)
    if options.name in known.APART:
        return child.run(options.name, options.options)
    return command.run(known.load(options.name), options.options, program)


def _list(benchmarks: Mapping[str, str], title: str) -> None:
    from distgan.cli.console import say

    say(f"{title}:")
    for name, about in benchmarks.items():
        say(f"  {name:<14} {about}")


def _find_checkout() -> None:
    """Make `benchmarks` importable, which lies beside the package and is not installed.

    Raises:
        UserError: when there is no checkout.
    """
    for folder in (Path(__file__).parents[2], Path.cwd()):
        if (folder / "benchmarks" / "frame").is_dir():
            sys.path.insert(0, str(folder))
            return
    raise UserError(
        "bench: the benchmarks are not installed with the package; run this in a clone of "
        "distgan's repository, whose folder benchmarks/ holds them"
    )
