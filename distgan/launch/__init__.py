"""Starting a run: checks first, then the loop in this process or on Ray."""

from __future__ import annotations

from distgan.launch.start import Display, Result, resume, train

__all__ = ["Display", "Result", "resume", "train"]
