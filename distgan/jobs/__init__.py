"""Commands of distgan on a Ray cluster, through Ray Jobs: what the verb `submit` is made of."""

from __future__ import annotations

from distgan.jobs.client import Job, connect, jobs, logs, status, stop
from distgan.jobs.sending import submit

__all__ = ["Job", "connect", "jobs", "logs", "status", "stop", "submit"]
