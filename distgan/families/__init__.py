"""Families of models: what is computed in an update; how, is for `distgan.training`.

To add one: write a module with a configuration that inherits `RunConfig` and a class that
inherits `Family`, and pass both to `register`. The guide *families* shows one in 50 lines.
"""

from __future__ import annotations

from distgan.families.base import Family, Interface, Network
from distgan.families.data import Batch, Column, DataSpec, Draw
from distgan.families.registry import build, config_class, register
from distgan.families.terms import Coupled, Phase, Step, Terms

__all__ = [
    "Batch",
    "Column",
    "Coupled",
    "DataSpec",
    "Draw",
    "Family",
    "Interface",
    "Network",
    "Phase",
    "Step",
    "Terms",
    "build",
    "config_class",
    "register",
]
