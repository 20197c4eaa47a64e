"""Parameters of which a few run by default, and all with the slow tests."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def slow_but(names: Iterable[str], *quick: str) -> list[object]:
    """The names as parameters, slow ones but for those that are ``quick``.

    Raises:
        ValueError: for a quick one that is no name.
    """
    found = list(names)
    if unknown := set(quick) - set(found):
        raise ValueError(f"none of the parameters: {sorted(unknown)}")
    return [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in found]
