"""Commands of distgan on a Ray cluster, through Ray Jobs; the API of the verb `submit`."""

from __future__ import annotations

from distgan.jobs.client import Job, connect, jobs, logs, status, stop
from distgan.jobs.sending import submit

__all__ = ["Job", "connect", "jobs", "logs", "status", "stop", "submit"]
