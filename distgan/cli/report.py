"""`distgan report`."""

from __future__ import annotations

import argparse

from distgan.cli.files import check_writable
from distgan.cli.parser import Parser, Verbs


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser("report", help="show what runs did, as one HTML file")
    parser.set_defaults(execute=run)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders or URIs of runs")
    parser.add_argument(
        "--out", metavar="FILE.html", help="[report.html in RUN; of several runs, here]"
    )


def run(options: argparse.Namespace) -> int:
    """Write the page."""
    from distgan.cli.console import say
    from distgan.report import write_report

    if options.out is not None:
        check_writable(options.out, "--out", "report.html")
    say(f"the report: {write_report(options.runs, options.out)}")
    return 0
