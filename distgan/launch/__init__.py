"""Starting a run: checks first, then the loop in this process or on Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distgan.launch.start import Display, Result, resume, train

__all__ = ["Display", "Result", "resume", "train"]


def __getattr__(name: str) -> Any:
    # The command line needs `distgan.launch.signals` before it imports torch.
    if name in __all__:
        from distgan.launch import start

        return getattr(start, name)
    raise AttributeError(f"module 'distgan.launch' has no attribute {name!r}")
