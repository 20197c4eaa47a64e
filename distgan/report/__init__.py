"""What runs did, as one HTML file that opens anywhere: curves, samples, metrics, settings."""

from __future__ import annotations

from distgan.report.write import write_report

__all__ = ["write_report"]
