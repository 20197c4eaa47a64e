"""distgan: fast and dependable training of generative adversarial networks."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "train": "distgan.launch",
    "resume": "distgan.launch",
    "load_generator": "distgan.runs.export",
    "load_discriminator": "distgan.runs.export",
    "recipe": "distgan.recipes",
    "register": "distgan.families",
    "override": "distgan.config.settings",
    "prepare": "distgan.launch.prepare",
    "PrepareSettings": "distgan.data.prepare",
    "open_images": "distgan.data.images",
    "UserError": "distgan.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    # torch and Ray take seconds to import, so each name brings in only what it needs.
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'distgan' has no attribute {name!r}")
