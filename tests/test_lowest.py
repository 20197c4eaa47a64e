"""The lowest versions that pyproject.toml allows are those that are installed to be tested."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[1]


def requirements() -> list[str]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    optional = project["project"]["optional-dependencies"].values()
    # Not what builds the package, which pip installs apart, without constraints.
    named = project["project"]["dependencies"]
    return [*named, *(requirement for group in optional for requirement in group)]


def bounds(lines: list[str], sign: str) -> dict[str, set[str]]:
    """Versions by name, as written after the sign."""
    found: dict[str, set[str]] = {}
    for line in lines:
        match = re.fullmatch(rf"([\w-]+)(?:\[[\w,]+\])?{sign}([\w.]+)", line)
        if match:
            found.setdefault(match[1].lower(), set()).add(match[2])
    return found


def test_every_lower_bound_is_what_the_oldest_versions_hold() -> None:
    asked = bounds(requirements(), ">=")
    written = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    lines = [line for line in written if not line.startswith("#")]
    assert len(asked) > 20
    assert bounds(lines, "==") == asked
    assert len(lines) == len(asked)


def test_what_has_no_bound_is_known() -> None:
    """Whatever is named without a bound could be of any age."""
    free = {line for line in requirements() if ">=" not in line and not line.startswith("distgan")}
    assert free == {"torchvision", "types-PyYAML"}


def test_the_command_that_tests_them_is_one() -> None:
    command = ROOT / ".ci" / "lowest"
    assert os.access(command, os.X_OK)
    assert "-c constraints-lowest.txt" in command.read_text()
