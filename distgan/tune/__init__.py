"""Hyperparameter search that knows what a GAN is: the space, the trials, what they come to."""

from __future__ import annotations

from distgan.tune.results import Found
from distgan.tune.search import resume, tune

__all__ = ["Found", "resume", "tune"]
