"""Foreign text in messages: shown, never obeyed, never without end."""

from __future__ import annotations

import pytest

from distgan.errors import brief, first_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain.png", "plain.png"),
        ("фото/猫.png", "фото/猫.png"),
        ("\x1b[31mred\x1b[0m", "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}[0m"),
        (
            "a\x07b\x9bc\x7f",
            "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}",
        ),
        ("caf\udce9", "caf\N{REPLACEMENT CHARACTER}"),
        ("gnp.\u202egpj", "gnp.\N{REPLACEMENT CHARACTER}gpj"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("[bold]no markup[/x]", "[bold]no markup[/x]"),
    ],
)
def test_nothing_foreign_reaches_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode("utf-8")


def test_values_are_cut() -> None:
    assert brief("short") == "'short'"
    assert len(brief("x" * 100_000)) <= 82
    assert len(brief(10**100_000)) <= 82
    assert len(brief([[list(range(1000))] * 1000] * 1000)) < 1000
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert len(brief(deep)) < 1000


def test_the_first_line_of_a_librarys_words() -> None:
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"
    assert len(first_line(ValueError("x" * 10_000))) == 200
