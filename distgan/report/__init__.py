"""Reports of runs as one self-contained HTML file: curves, samples, metrics, settings."""

from __future__ import annotations

from distgan.report.write import write_report

__all__ = ["write_report"]
