"""How fast a configuration would train on machines that are not here: knows nothing of Ray."""

from __future__ import annotations

from distgan.plan.model import TERMS, Compute, Link, Network, Prediction, predict
from distgan.plan.trace import trace
from distgan.plan.work import Work

__all__ = ["TERMS", "Compute", "Link", "Network", "Prediction", "Work", "predict", "trace"]
