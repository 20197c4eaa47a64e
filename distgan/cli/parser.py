"""Parsers that say a mistake in one line, and may take any setting as an option."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from distgan.errors import UserError


class Parser(argparse.ArgumentParser):
    """Of a verb; its mistakes are raised as `UserError`.

    Args:
        takes_settings: whether any setting of a configuration is an option too, by its
            dotted name; `split_settings` finds those.
    """

    def __init__(self, *, takes_settings: bool = False, **options: Any) -> None:
        self.takes_settings = takes_settings
        self._own: set[str] = set()
        super().__init__(allow_abbrev=False, **options)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """As argparse's, remembering the options proper."""
        self._own.update(name for name in names if name.startswith("-"))
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise UserError(f"{message}; see `{self.prog} --help`")

    def split_settings(self, words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Separate ``--setting VALUE`` and ``--setting=VALUE`` from the options proper.

        Raises:
            UserError: for a setting without a value.
        """
        kept: list[str] = []
        found: dict[str, str] = {}
        left = list(words) if self.takes_settings else []
        while left:
            word = left.pop(0)
            name, given, value = word.partition("=")
            if not word.startswith("--") or name in self._own:
                kept.append(word)
                continue
            if not given:
                if not left or left[0].startswith("--"):
                    raise UserError(f"{name}: needs a value, as in {name} VALUE")
                value = left.pop(0)
            found[name[2:].replace("-", "_")] = value
        return (kept, found) if self.takes_settings else (list(words), found)


Verbs = argparse._SubParsersAction  # What `add_subparsers` returns has no public name.
"""Where the module of a verb adds its parser."""
