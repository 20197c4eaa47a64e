"""The entry point and the list of verbs. torch and Ray are not imported until a verb runs.

A verb is a module with ``add``, which declares its options and names the function that runs it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from distgan import __version__
from distgan.cli import (
    bench,
    clean,
    completion,
    data,
    evaluate,
    guide,
    jobs,
    plan,
    recipes,
    reconstruct,
    report,
    sample,
    show,
    train,
    translate,
    tune,
)
from distgan.cli.boundary import guarded
from distgan.cli.parser import Parser
from distgan.errors import EXIT_CODES, UserError

_VERBS = (
    *(
        train,
        sample,
        translate,
        reconstruct,
        report,
        evaluate,
        tune,
        plan,
        bench,
        recipes,
        show,
        data,
    ),
    *(clean, jobs, guide, completion),
)

_TOP = f"""\
start here:
  distgan train            train a GAN on MNIST; everything it needs is inside
  distgan sample runs/...  make images with what was trained (translate: of images)
  distgan report runs/...  see how it went, in a browser
  distgan guide            read about data, training, metrics and the rest

{EXIT_CODES}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status, one of `distgan.errors.EXIT_CODES`."""
    words = list(sys.argv[1:] if arguments is None else arguments)

    def run() -> int:
        options = parse(words or ["--help"])
        status: int = _suggesting(options)
        return status

    return guarded(words, run)


def _suggesting(options: argparse.Namespace) -> int:
    """Run a verb; of a setting that does not exist, tell the verb's option that may be meant."""
    try:
        status: int = options.execute(options)
        return status
    except UserError as error:
        # By its name, as the class is in a module that `--help` is not to import.
        name, known = getattr(error, "name", None), getattr(error, "known", ())
        word = f"--{name}".replace("_", "-")
        near = options.parser.near_option(word, known) if name else ""
        if not near:
            raise
        raise UserError(f"--{name}: no such option or setting{near}") from None


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse the words of a command into its options.

    Raises:
        UserError: for words that are not a command of distgan.
    """
    parser = Parser(
        prog="distgan",
        description="Train generative adversarial networks, from a laptop to a Ray cluster.",
        epilog=_TOP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"distgan {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for module in _VERBS:
        module.add(verbs)
    for word in words:
        # Some versions of argparse take a value of "--" for the end of the options.
        if word.startswith("--") and word.endswith("=--"):
            raise UserError(f"{word[:-3]}: needs a value, as in {word[:-3]} VALUE")
    overrides: dict[str, str] = {}
    verb = verbs.choices.get(words[0]) if words else None
    if verb is not None:
        rest, overrides = verb.split_settings(words[1:])
        words = [words[0], *rest]
    # `submit` checks the command that it sends with this function, without importing this module.
    inner = parser.innermost(words)
    given = argparse.Namespace(overrides=overrides, parse=parse, root=parser, parser=inner)
    options, rest = parser.parse_known_args(words, given)
    if rest := inner.gather(options, rest):
        near = inner.near_option(rest[0].partition("=")[0]) if rest[0][:1] == "-" else ""
        inner.error(f"unrecognized arguments: {' '.join(rest)}{near}")
    for name, value in vars(options).items():
        if value == "":
            raise UserError(f"{_spelled(name, words)}: is empty; give a value, or leave it out")
    return options


def _spelled(name: str, words: Sequence[str]) -> str:
    option = f"--{name.replace('_', '-')}"
    return option if any(word.partition("=")[0] == option for word in words) else name.upper()
