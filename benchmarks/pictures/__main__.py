"""Make the pictures of README and guides anew.

    python -m benchmarks.pictures digits
    python -m benchmarks.pictures report --run runs/mnist-mlp-...
    python -m benchmarks.pictures all

`digits`, `report`, `terminal` and `faults` train for a minute or two each, on a machine that should
have nothing else to do; the others draw what is measured already, or a packaged set. `report`
wants the extra `report` and Chromium.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.pictures import charts, runs, translation, video
from distgan import guides

FOLDER = Path(guides.__file__).parent

DRAWN: dict[str, Callable[[], bytes]] = {
    "peers.svg": lambda: charts.peers().encode(),
    "scaling.svg": lambda: charts.scaling().encode(),
    "data.png": runs.data,
    "translation.png": translation.drawn,
    "video.webp": video.film,
    "video.png": video.strips,
}
"""Pictures for which nothing is trained, by file."""

FILES = (*DRAWN, *runs.OF_RUNS, *runs.IN_FOLDERS)


def main() -> int:
    """Make the named pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [name.partition(".")[0] for name in FILES]
    parser.add_argument("names", nargs="+", metavar="NAME", choices=["all", *names])
    parser.add_argument("--run", metavar="DIR", type=Path, help="for digits and report [train one]")
    options = parser.parse_args()
    wanted = names if "all" in options.names else options.names
    with tempfile.TemporaryDirectory(prefix="distgan-") as scratch:
        for file in FILES:
            if file.partition(".")[0] not in wanted:
                continue
            if file in DRAWN:
                content = DRAWN[file]()
            elif file in runs.OF_RUNS:
                options.run = options.run or runs.trained(Path(scratch))
                content = runs.OF_RUNS[file](options.run)
            else:
                content = runs.IN_FOLDERS[file](Path(scratch))
            (FOLDER / file).write_bytes(content)
            print(f"{FOLDER / file}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
