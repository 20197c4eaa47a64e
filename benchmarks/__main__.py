"""`python -m benchmarks [--list] NAME [OPTIONS]`, which `distgan bench` starts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from benchmarks.frame import child, command, everything, known
from distgan.cli.boundary import guarded
from distgan.cli.console import say
from distgan.errors import UserError


def run(words: Sequence[str]) -> int:
    """List the benchmarks, or run one; the exit status.

    Raises:
        UserError: for a mistake in the words.
    """
    if words[:1] == ["--list"]:
        _list(known.KNOWN, "distgan bench all runs, in turn")
        _list(known.APART, "by themselves")
        return 0
    if not words:
        raise UserError("bench: which one? `distgan bench --list` lists them")
    name, *options = words
    program = f"distgan bench {name}"
    if name == known.ALL:
        return everything.run_all(options, program)
    if name in known.APART:
        return child.run(name, options)
    return command.run(known.load(name), options, program)


def _list(benchmarks: Mapping[str, str], title: str) -> None:
    say(f"{title}:")
    for name, about in benchmarks.items():
        say(f"  {name:<14} {about}")


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(guarded(["bench", *given], lambda: run(given)))
