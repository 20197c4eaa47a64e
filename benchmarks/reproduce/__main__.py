"""Train what was published, and put it beside.

    python -m benchmarks.reproduce burda --seeds 3
    python -m benchmarks.reproduce gaussians --seeds 5
    python -m benchmarks.reproduce stacked-mnist --loss "RpGAN + R1 + R2"
    python -m benchmarks.reproduce table

Every seed leaves a dated record in benchmarks/records/published and is not run again; the same line
goes on where it was stopped. `table` prints what was published beside ours.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.reproduce import burda, gaussians, stacked
from benchmarks.reproduce.experiment import read, reproduce, table

EXPERIMENTS = {module.EXPERIMENT.name: module.EXPERIMENT for module in (burda, gaussians, stacked)}


def main() -> int:
    """Run what is asked for, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="name", required=True)
    commands.add_parser("table", help="what was published beside ours")
    for experiment in EXPERIMENTS.values():
        command = commands.add_parser(
            experiment.name,
            help=experiment.what,
            description=sys.modules[experiment.run.__module__].__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        experiment.options(command)
        command.add_argument("--seeds", type=int, default=3, help="how many, from --first [3]")
        command.add_argument("--first", type=int, default=0, help="seed [0]")
        command.add_argument(
            "--out", type=Path, default=Path("runs/published"), help="[runs/published]"
        )
    asked = parser.parse_args()
    if asked.name == "table":
        print(table(read()))
        return 0
    experiment = EXPERIMENTS[asked.name]
    for seed in range(asked.first, asked.first + asked.seeds):
        for variant in experiment.variants(asked):
            reproduce(experiment, variant, seed, asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
