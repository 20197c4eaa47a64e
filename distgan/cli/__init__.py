"""The command line: verbs, their options, and one line for every mistake."""

from __future__ import annotations

from distgan.cli.main import main

__all__ = ["main"]
