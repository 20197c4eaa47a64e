"""Prediction of training speed on other machines. Does not use Ray."""

from __future__ import annotations

from distgan.plan.model import TERMS, Compute, Link, Network, Prediction, predict
from distgan.plan.trace import trace
from distgan.plan.work import Work

__all__ = ["TERMS", "Compute", "Link", "Network", "Prediction", "Work", "predict", "trace"]
