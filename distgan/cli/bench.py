"""`distgan bench`."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from distgan.cli.parser import Parser, Verbs
from distgan.errors import UserError, brief

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

_GRACE = 5.0
"""Seconds in which a benchmark has to react to a terminal's Ctrl-C before it is told again."""


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
    """List the benchmarks, or run one, in a process of its own."""
    checkout = _checkout()
    named = [options.name] if options.name else []
    words = ["--list"] if options.list else [*named, *options.options]
    for word in words:
        if "\0" in word:
            raise UserError(f"bench {brief(word)}: holds a null character; leave it out")
    return _wait(start_module("benchmarks", words, checkout))


def start_module(name: str, words: Sequence[str], checkout: Path) -> subprocess.Popen[bytes]:
    """Start `python -m NAME WORDS` in the current folder, with the modules of ``checkout``.

    Python itself would search the current folder first, which may hold another `benchmarks`.
    """
    path = os.pathsep.join(filter(None, (str(checkout), os.environ.get("PYTHONPATH"))))
    run = f"runpy.run_module({name!r}, run_name='__main__', alter_sys=True)"
    program = f"import runpy, sys; sys.path[0] = {str(checkout)!r}; {run}"
    command = [sys.executable, "-c", program, *words]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Its exit status, once it has ended; SIGTERM and Ctrl-C end it first."""
    before = signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
    try:
        status = process.wait()
    except KeyboardInterrupt:
        # A terminal sends SIGINT to both processes; `kill -INT` reaches this one alone.
        try:
            status = process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            status = process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    return status if status >= 0 else 128 - status


def _checkout() -> Path:
    """The checkout that this package lies in; the benchmarks are not installed with it.

    Raises:
        UserError: when the package does not lie in a checkout.
    """
    folder = Path(__file__).parents[2]
    if (folder / "benchmarks" / "frame").is_dir():
        return folder
    raise UserError(
        "bench: the benchmarks are not installed with the package; install distgan from a clone "
        "of its repository, whose folder benchmarks/ holds them (pip install -e .)"
    )
