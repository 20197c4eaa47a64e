"""Argument parsers that report a mistake in one line, and may take any setting as an option."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from distgan.errors import UserError, brief

MOST_WORKERS = 1_000_000
"""Upper bound of options that count workers: more is a typing mistake."""
_MOST_DIGITS = 40


class Parser(argparse.ArgumentParser):
    """The parser of a verb; raises `UserError` where argparse would exit.

    Args:
        takes_settings: whether any setting of a configuration is an option too, by its
            dotted name; `split_settings` finds those.
        gathers: the name of a list of arguments that may be empty. Of such a list argparse takes
            those in front of the first option only; see `gather`.
    """

    def __init__(self, *, takes_settings: bool = False, gathers: str = "", **options: Any) -> None:
        self.takes_settings, self._gathers = takes_settings, gathers
        self._own: set[str] = set()
        super().__init__(allow_abbrev=False, **options)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """As argparse's; also records the verb's own options, which `split_settings` keeps."""
        self._own.update(name for name in names if name.startswith("-"))
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        """Raise `UserError` with the message that argparse would print."""
        raise UserError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse's, which has no other place to say what was meant by a word."""
        if action.choices is None or value in action.choices:
            return
        from distgan.config.settings import nearest

        known = [str(choice) for choice in action.choices]
        if isinstance(action, argparse._SubParsersAction):
            what = "such command" if self.prog == "distgan" else f"such command of `{self.prog}`"
            have = f"`{self.prog} --help` lists them"
        else:
            what, have = "such choice", f"have {', '.join(known)}"
        option = f"{action.option_strings[0]} " if action.option_strings else ""
        near = nearest(str(value), known)
        raise UserError(f"{option}{brief(value)}: no {what}{near}; {have}")

    def gather(self, options: argparse.Namespace, rest: list[str]) -> list[str]:
        """Add words that were left over to the list that gathers such; those that are then left."""
        if not self._gathers or any(word.startswith("-") for word in rest):
            return rest
        getattr(options, self._gathers).extend(rest)
        return []

    def innermost(self, words: Sequence[str]) -> Parser:
        """The parser of the verb, or of the action of a verb, that the words name."""
        for action in self._actions:
            for place, word in enumerate(words):
                if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                    inner: Parser = action.choices[word]
                    return inner.innermost(words[place + 1 :])
        return self

    def near_option(self, word: str, settings: Sequence[str] = ()) -> str:
        """``", did you mean --X?"`` for the option of the verb closest to a word, or nothing.

        Args:
            settings: names of settings, which are options too.
        """
        from distgan.config.settings import nearest

        # A dot is in names of settings only, and `nearest` would compare what follows it.
        if "." in word:
            return ""
        return nearest(word, [*(f"--{name}" for name in settings), *sorted(self._own)])

    def split_settings(self, words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Separate ``--setting VALUE`` and ``--setting=VALUE`` from the verb's own options.

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
                    if near := self.near_option(name):
                        raise UserError(f"{brief(name)}: no such option{near}")
                    raise UserError(f"{name}: needs a value, as in {name} VALUE")
                value = left.pop(0)
            found[name[2:].replace("-", "_")] = value
        return (kept, found) if self.takes_settings else (list(words), found)


def whole(option: str, least: int = 0, most: int = 2**64 - 1) -> Callable[[str], int]:
    """The ``type`` of an option that is a whole number between bounds.

    Raises:
        UserError: when called with anything else, naming the option.
    """

    def parse(text: str) -> int:
        # int() raises for thousands of digits, so the length is limited first.
        digits = text.strip().removeprefix("-")
        value = int(text) if digits.isdecimal() and len(digits) <= _MOST_DIGITS else None
        if value is None:
            raise UserError(f"{option} {brief(text)}: should be a whole number")
        if value < least:
            raise UserError(f"{option} {value}: should be at least {least}")
        if value > most:
            raise UserError(f"{option} {value}: should be at most {most}")
        return value

    return parse


Verbs = argparse._SubParsersAction  # What `add_subparsers` returns has no public name.
"""Type of the object to which the module of a verb adds its parser."""
