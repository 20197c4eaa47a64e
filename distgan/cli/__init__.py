"""The command line: verbs and their options; every user error is printed as one line."""

from __future__ import annotations

from distgan.cli.main import main

__all__ = ["main"]
